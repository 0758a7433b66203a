"""The one sum over neighbours, atoms or structures that all of eqff uses."""

from __future__ import annotations

import torch
from torch import Tensor


def segment_sum(values: Tensor, index: Tensor, num_segments: int) -> Tensor:
    """Sums rows of ``values`` that share an index.

    ``index_add`` on sorted indices: measured as fast as torch-scatter's kernels, differentiable to any order.

    Args:
        values: (M, ...).
        index: Segment of each row, (M,) int64.
        num_segments: Length of the result; segments without rows are zero.

    Returns:
        (num_segments, ...), in the dtype of ``values``.
    """
    out = torch.zeros((num_segments,) + values.shape[1:], dtype=values.dtype, device=values.device)
    return out.index_add(0, index, values)
