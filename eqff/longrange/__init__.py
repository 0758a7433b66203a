"""Sums over all pairs and their periodic images: kernels (what), lattice sums (how), tuning (how accurately)."""
