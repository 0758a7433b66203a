"""Compiled results held against plain ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from eqff.errors import ModelError

AGREEMENT = {torch.float32: 1e-3, torch.float64: 1e-8}
"""Largest difference to the plain step, relative to the largest value of a field: some thousand roundings."""


def require_agreement(compiled: Mapping[str, Tensor], plain: Mapping[str, Tensor], least: float = 1e-6) -> None:
    """Refuses compiled results that differ from plain ones by more than rounding.

    Args:
        compiled: Fields by name.
        plain: The same.
        least: Smaller values are looked at as if they were of this size: sums that cancel, say.

    Raises:
        ModelError: Names the field and the difference. Compilers have been seen to be wrong without a word.
    """
    for name, expected in ((name, value.detach()) for name, value in plain.items()):
        if not expected.is_floating_point() or expected.numel() == 0:
            continue
        size, difference = expected.abs().max(), (compiled[name].detach() - expected).abs().max()
        limit = AGREEMENT.get(plain["forces"].dtype, 1e-3) * max(float(size), least)
        if not float(difference) <= limit:
            raise ModelError(
                f"The compiled step gives other {name} than the plain one: they differ by {float(difference):.3g}, "
                f"with values up to {float(size):.3g}. torch {torch.__version__} compiles this model wrongly; "
                "train with training.compile=false."
            )
