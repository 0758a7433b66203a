"""Building blocks of models: radial functions, equivariant products and linear maps, sums, projections onto totals."""
