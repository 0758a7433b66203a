"""Calls into the library: tensors as pointers, functions by name and precision."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from eqff.kernels.choice import DTYPES
from eqff.kernels.library import library

KINDS = {"i": ctypes.c_int, "n": ctypes.c_int64, "p": ctypes.c_void_p}
"""Of arguments: an int, a size, and the address of an array (``data_ptr()``, or None)."""


@cache
def function(name: str, dtype: torch.dtype | None = None, arguments: str | None = None) -> Callable[..., int]:
    """A function of the library.

    Args:
        name: Of the function.
        dtype: The precision of the numbers that it is for, if that is part of its name.
        arguments: A letter of `KINDS` each: then it takes plain integers and None, which is faster; else what `number`,
            `address` and `threads` make.
    """
    found = getattr(library(), name if dtype is None else f"{name}_{DTYPES[dtype]}")
    found.restype = ctypes.c_int if dtype is None else None
    if arguments is not None:
        found.argtypes = [KINDS[letter] for letter in arguments]
    return found


def address(tensor: Tensor | None) -> ctypes.c_void_p:
    """Where the numbers of a tensor begin; the null pointer for None. The caller keeps the tensor alive."""
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def number(value: int) -> ctypes.c_int64:
    """A size."""
    return ctypes.c_int64(value)


def require(fits: bool, *tensors: Tensor) -> None:
    """Refuses what would be read as something else, or beyond its end: the library can't look.

    Raises:
        ValueError: It doesn't fit.
    """
    if not fits:
        found = ", ".join(f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}" for tensor in tensors)
        raise ValueError(f"Arrays of a fused operation don't fit together: {found}.")


def threads() -> ctypes.c_int:
    """As many as PyTorch uses."""
    return ctypes.c_int(torch.get_num_threads())


class _Table(ctypes.Structure):
    _fields_ = [
        ("rows", ctypes.c_int64),
        ("start", ctypes.c_void_p),
        ("first", ctypes.c_void_p),
        ("second", ctypes.c_void_p),
        ("value", ctypes.c_void_p),
    ]


class Couplings:
    """A sparse array t_kij for the library, sorted by k.

    Args:
        dense: t, (K, I, J).
        dtype: Of the numbers it is used with.

    Attributes:
        arrays: Where each k begins, i, j, and the values.
    """

    def __init__(self, dense: Tensor, dtype: torch.dtype):
        k, first, second = dense.nonzero().unbind(dim=1)
        counts = torch.bincount(k, minlength=dense.shape[0])
        start = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        self.arrays = [tensor.to(torch.int32).contiguous() for tensor in (start, first, second)]
        self.arrays.append(dense[k, first, second].to(dtype).contiguous())
        self.rows, self.columns = dense.shape[0], tuple(dense.shape[1:])
        self.structure = _Table(self.rows, *(tensor.data_ptr() for tensor in self.arrays))
        self.pointer = ctypes.addressof(self.structure)


def plan(tables: Sequence[Couplings], sizes: Sequence[int]) -> ctypes.Structure:
    """Several tables and a few sizes behind each other, as C++ sees a struct of them; keep the tables alive."""
    fields: list[tuple[str, Any]] = [(f"table{n}", _Table) for n in range(len(tables))]
    fields += [(f"size{n}", ctypes.c_int64) for n in range(len(sizes))]
    kind = type("_Plan", (ctypes.Structure,), {"_fields_": fields})
    return kind(*(table.structure for table in tables), *sizes)
