"""Electrons as one charge for each of some atoms, at the centroid of their Wannier functions."""
