"""Comparing numbers: relative to their size, with a message that says by how much they differ."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.testing.tolerances import FLOOR


def relative_error(value: Tensor, expected: Tensor, floor: float = FLOOR) -> float:
    """Largest difference by the largest expected magnitude, which counts as at least ``floor``.

    Not a number anywhere gives infinity.
    """
    if value.shape != expected.shape:
        raise AssertionError(f"shapes differ: {tuple(value.shape)} instead of {tuple(expected.shape)}")
    if expected.numel() == 0:
        return 0.0
    value, expected = value.detach().to(torch.float64), expected.detach().to(torch.float64)
    error = float((value - expected).abs().max() / expected.abs().max().clamp(min=floor))
    return error if error == error else float("inf")


def assert_close(value: Tensor, expected: Tensor, tolerance: float, what: str, floor: float = FLOOR) -> None:
    """Fails, naming ``what`` was compared, where `relative_error` exceeds the tolerance."""
    error = relative_error(value, expected, floor)
    assert error <= tolerance, f"{what}: relative error {error:.1e}, allowed is {tolerance:.0e}"
