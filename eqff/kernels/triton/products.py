"""See `eqff.kernels.products`."""

from __future__ import annotations

import torch

from eqff.kernels.product_plans import ProductPlan


def takes(plan: ProductPlan, channels: int, dtype: torch.dtype) -> bool:
    """None yet."""
    return False
