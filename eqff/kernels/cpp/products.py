"""See `eqff.kernels.products`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from eqff.kernels.product_plans import ProductPlan


def takes(plan: ProductPlan, channels: int, dtype: torch.dtype) -> bool:
    """Whether `run` can."""
    return plan.takes(channels)


def run(plan: ProductPlan, name: str, read: Sequence[Tensor], written: Sequence[Tensor | None]) -> None:
    """Calls ``forward``, ``backward`` or ``twice``, see `ProductPlan.run`."""
    plan.run(name, read, written)
