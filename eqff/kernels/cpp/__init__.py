"""Fused operations on the CPU, in C++: calls into the library that `eqff.kernels.library` compiles."""
