"""See `eqff.kernels.bilinear`."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.kernels.bilinear import RowCouplings
from eqff.kernels.call import function, require

MOST = 800
"""Numbers in a row that C++ has room for: those of the matrix of an edge up to degree 4, and more."""


def run(couplings: RowCouplings, x: Tensor, y: Tensor, axes: tuple[int, int, int], out: Tensor) -> None:
    """Fills ``out`` (E, K) from x (E, I) and y (E, J); rows of x and y may be part of wider ones.

    Raises:
        ValueError: Rows of more numbers than `MOST`.
    """
    require(x.shape[1] <= MOST and y.shape[1] <= MOST, x, y)
    table = couplings.table(axes, x.dtype)
    function("rows_bilinear", x.dtype, "pnpnnpnnpi")(
        table.pointer,
        x.shape[0],
        *(x.data_ptr(), x.shape[1], x.stride(0)),
        *(y.data_ptr(), y.shape[1], y.stride(0)),
        *(out.data_ptr(), torch.get_num_threads()),
    )
