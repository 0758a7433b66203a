"""See `eqff.kernels.bilinear`."""

from __future__ import annotations

import ctypes

from torch import Tensor

from eqff.kernels.bilinear import RowCouplings
from eqff.kernels.call import address, function, number, threads


def run(couplings: RowCouplings, x: Tensor, y: Tensor, axes: tuple[int, int, int], out: Tensor) -> None:
    """Fills ``out`` (E, K) from x (E, I) and y (E, J); rows of x and y may be part of wider ones."""
    table = couplings.table(axes, x.dtype)
    function("rows_bilinear", x.dtype)(
        ctypes.byref(table.structure),
        number(x.shape[0]),
        *(address(x), number(x.shape[1]), number(x.stride(0))),
        *(address(y), number(y.shape[1]), number(y.stride(0))),
        *(address(out), threads()),
    )
