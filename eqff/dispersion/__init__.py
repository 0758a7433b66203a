"""Dispersion: DFT-D3, DFT-D4 and learned coefficients as sums over pairs and triples."""
