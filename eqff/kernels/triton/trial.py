"""The smallest kernel there is."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from triton.errors import TritonError


@triton.jit
def _count(out, SIZE: tl.constexpr):
    place = tl.arange(0, SIZE)
    tl.store(out + place, place)


def trial(device: torch.device) -> None:
    """Compiles it and looks at what it did.

    Raises:
        RuntimeError: It was not what it should be, or could not be compiled.
    """
    size = 32
    out = torch.full((size,), -1, dtype=torch.int32, device=device)
    try:
        _count[(1,)](out, SIZE=size)
    except TritonError as error:
        raise RuntimeError(f"Triton {triton.__version__}: {error}") from error
    if out.tolist() != list(range(size)):
        raise RuntimeError(f"Triton {triton.__version__} computes something else than it is told")
