"""The one sum over neighbours, atoms or structures that all of eqff uses, with a choice of who does it."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch import Tensor

from eqff.errors import ConfigError, did_you_mean

Reduction = Callable[[Tensor, Tensor, int], Tensor]


def index_add(values: Tensor, index: Tensor, num_segments: int) -> Tensor:
    """PyTorch's own: on sorted indices as fast as torch-scatter's kernels, differentiable to any order."""
    out = torch.zeros((num_segments,) + values.shape[1:], dtype=values.dtype, device=values.device)
    return out.index_add(0, index, values)


def torch_scatter(values: Tensor, index: Tensor, num_segments: int) -> Tensor:
    """torch-scatter's ``scatter`` (never its ``segment_csr``, which drops second derivatives without a word)."""
    from torch_scatter import scatter

    return scatter(values, index, dim=0, dim_size=num_segments, reduce="sum")


BACKENDS: dict[str, Reduction] = {"index_add": index_add, "torch_scatter": torch_scatter}


def chosen_backend(name: str) -> Reduction:
    """The reduction of this name.

    Raises:
        ConfigError: There is none, or its package is not installed.
    """
    if name not in BACKENDS:
        raise ConfigError(f"EQFF_SCATTER is '{name}'.{did_you_mean(name, BACKENDS)}")
    try:
        BACKENDS[name](torch.ones(1), torch.zeros(1, dtype=torch.int64), 1)
    except ImportError as error:
        raise ConfigError(f"EQFF_SCATTER is '{name}', which is not installed; `make scatter` builds it.") from error
    return BACKENDS[name]


_reduction = chosen_backend(os.environ.get("EQFF_SCATTER", "index_add"))


def segment_sum(values: Tensor, index: Tensor, num_segments: int) -> Tensor:
    """Sums rows of ``values`` that share an index.

    The environment variable ``EQFF_SCATTER`` chooses between `BACKENDS` when eqff is imported.

    Args:
        values: (M, ...).
        index: Segment of each row, (M,) int64.
        num_segments: Length of the result; segments without rows are zero.

    Returns:
        (num_segments, ...), in the dtype of ``values``.
    """
    return _reduction(values, index, num_segments)
