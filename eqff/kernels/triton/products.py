"""See `eqff.kernels.products`: code made for each (`eqff.kernels.generated`), a thread for each atom and channel."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cache

import torch
import triton
from torch import Tensor

from eqff.kernels.generated.triton_source import module
from eqff.kernels.product_plans import ProductPlan
from eqff.kernels.triton.launch import lanes
from eqff.kernels.triton.modules import written_module

MOST_STEPS = 5000
"""Of a function: longer ones take many minutes to compile."""

KERNEL_STEPS = {torch.float32: 3000, torch.float64: 1500}
"""Of a kernel: the values that longer ones need at once don't fit into a thread's 255 registers of 4 bytes."""

BLOCK = 64
"""Places (atom, channel) of a program, one a thread: registers are what a multiprocessor runs out of, not warps."""

log = logging.getLogger(__name__)


def takes(plan: ProductPlan, channels: int, dtype: torch.dtype) -> bool:
    """Whether `run` can; if not, one log line says why."""
    return _kernels(plan) is not None


def run(plan: ProductPlan, name: str, read: Sequence[Tensor], written: Sequence[Tensor | None]) -> None:
    """Calls ``forward``, ``backward`` or ``twice``, see `ProductPlan.run`."""
    factors, tensors = read[0], [*read, *(value for value in written if value is not None)]
    if name == "backward" and len(tensors) == len(read) + len(written):
        name = "backward_scale"
    atoms, channels = factors.shape[1], plan.channels(factors)
    if not atoms * channels:
        return
    rows = [value.shape[-1] for value in tensors]
    grid = (triton.cdiv(atoms * channels, BLOCK),)
    warps = max(1, BLOCK // lanes(factors.device))
    with torch.cuda.device_of(factors):
        for kernel in _kernels(plan)[name]:
            kernel[grid](*tensors, *rows, atoms, channels, BLOCK=BLOCK, num_warps=warps)


@cache
def _kernels(plan: ProductPlan) -> Mapping[str, Sequence[triton.runtime.JITFunction]] | None:
    """Those of each function, which are compiled when they first run."""
    polynomial = plan.polynomial
    if polynomial.steps > MOST_STEPS:
        log.warning(
            "A many-body product takes %d steps, more than the %d that are compiled for GPUs: plain operations run.",
            *(polynomial.steps, MOST_STEPS),
        )
        return None
    try:
        return written_module("products", module(polynomial, KERNEL_STEPS[plan.first.dtype])).KERNELS
    except OSError as error:
        log.warning("No code for a many-body product (%s): plain operations run. See docs/kernels.md.", error)
        return None
