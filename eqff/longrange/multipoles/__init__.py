"""Interactions of point multipoles: charges, dipoles, quadrupoles."""
