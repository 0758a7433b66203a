"""Fused operations on GPUs, in Triton. Modules with kernels import it: only `eqff.kernels.backends` imports those."""
