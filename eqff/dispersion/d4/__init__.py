"""DFT-D4: charges, coordination numbers and references, which its coefficients follow."""
