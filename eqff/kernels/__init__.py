"""Fused operations for the CPU, closed under differentiation: compiled when first needed, equal to plain PyTorch."""
