"""See `eqff.kernels.bilinear`: rows and columns of the result side by side, terms of a column one after the other."""

from __future__ import annotations

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from eqff.kernels.bilinear import RowCouplings

NUMBERS = 1024
"""Of the result in one program: eight for each of 128 threads."""
COLUMNS = 64
"""Of the result in one program, at most."""


@triton.jit(do_not_specialize=["rows", "stride_x", "stride_y", "terms"])
def _rows_kernel(
    first, second, value, x, y, out, rows, stride_x, stride_y, terms,
    WIDTH: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """z of a block of rows and of columns, from tables (terms, WIDTH)."""
    e = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    k = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    row, inside = tl.minimum(e, rows - 1)[:, None], k < WIDTH
    total = tl.full((ROWS, COLUMNS), 0.0, x.dtype.element_ty)
    for term in range(terms):
        place = term * WIDTH + k
        i, j = tl.load(first + place, inside, 0), tl.load(second + place, inside, 0)
        coupling = tl.load(value + place, inside, 0.0)
        of_x, of_y = tl.load(x + row * stride_x + i[None, :]), tl.load(y + row * stride_y + j[None, :])
        total += (coupling[None, :] * of_x) * of_y
    tl.store(out + e[:, None] * WIDTH + k[None, :], total, (e < rows)[:, None] & inside[None, :])


def run(couplings: RowCouplings, x: Tensor, y: Tensor, axes: tuple[int, int, int], out: Tensor) -> None:
    """Fills ``out`` (E, K) from x (E, I) and y (E, J); rows of x and y may be part of wider ones."""
    if not out.numel():
        return
    (rows, width), table = out.shape, _table(couplings, axes, x.dtype, x.device)
    columns = min(COLUMNS, max(8, triton.next_power_of_2(width)))
    many = NUMBERS // columns
    with torch.cuda.device_of(x):
        _rows_kernel[(triton.cdiv(rows, many), triton.cdiv(width, columns))](
            *(*table, x, y, out, rows, x.stride(0), y.stride(0), len(table[0])),
            **{"WIDTH": width, "COLUMNS": columns, "ROWS": many, "num_warps": 4, "enable_fp_fusion": True},
        )


@cache
def _table(
    couplings: RowCouplings, axes: tuple[int, int, int], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of x and y and the value of each term of each column, (terms, K); columns with fewer end in zeros."""
    dense = couplings.dense.permute(axes)
    column, first, second = dense.nonzero().unbind(dim=1)
    counts = torch.bincount(column, minlength=len(dense))
    term = torch.arange(len(column)) - (counts.cumsum(0) - counts)[column]
    shape = int(counts.max()), len(dense)
    tables = [torch.zeros(shape, dtype=kind) for kind in (torch.int32, torch.int32, dtype)]
    for table, numbers in zip(tables, (first, second, dense[column, first, second]), strict=True):
        table[term, column] = numbers.to(table.dtype)
    return tuple(table.to(device) for table in tables)
