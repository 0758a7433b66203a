"""Fused operations, closed under differentiation: compiled when first needed, equal to plain PyTorch."""
