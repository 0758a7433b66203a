"""Energies as functions of atomic populations, and the populations at which they are lowest."""
