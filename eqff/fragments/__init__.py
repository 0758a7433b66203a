"""Fragments of structures: each seen alone by the parts that read it, and expansions of energies in their number."""
