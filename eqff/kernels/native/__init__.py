"""Fused operations as C functions, which compiled code calls without Python."""
