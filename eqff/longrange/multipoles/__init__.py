"""Charges, dipoles and quadrupoles on atoms: what they make of each other's places, and the energy of it."""
