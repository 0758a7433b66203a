"""Machine code for a polynomial in one precision, compiled when first asked for, and calls of it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from eqff.kernels.generated.polynomials import Polynomial
from eqff.kernels.generated.source import program
from eqff.kernels.library import compiled_library

VECTOR = 64
"""Bytes; rows of fewer channels are left to other operations."""

MOST_STEPS = 6000
"""Longer code takes minutes to compile and no longer fits the processor's cache of instructions."""

REAL = {torch.float32: "float", torch.float64: "double"}


@dataclass(frozen=True)
class Slices:
    """Where arrays lie that are parts of the channels of one tensor.

    Attributes:
        pointers: Addresses of their first numbers.
        strides: Numbers from a component to the next.
        rows: Numbers from an atom to the next.
    """

    pointers: tuple[int, ...]
    strides: tuple[int, ...]
    rows: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor, channels: int) -> Slices:
        """Of a contiguous (components, N, parts · C), or of (N, components · C) as one array."""
        row = tensor.shape[-1]
        if tensor.ndim == 2:
            return cls((tensor.data_ptr(),), (channels,), (row,))
        parts, size = row // channels, channels * tensor.element_size()
        pointers = tuple(tensor.data_ptr() + part * size for part in range(parts))
        return cls(pointers, (tensor.stride(0),) * parts, (row,) * parts)


class GeneratedCode:
    """The functions of a polynomial, and of its derivatives.

    Args:
        polynomial: Makes it.
        dtype: Of the numbers.
    """

    def __init__(self, polynomial: Callable[[], Polynomial], dtype: torch.dtype):
        self._polynomial, self.dtype = polynomial, dtype

    def takes(self, channels: int) -> bool:
        """Whether there is code for rows of so many channels."""
        return channels * self.dtype.itemsize >= VECTOR and self._library is not None

    @cached_property
    def _library(self) -> ctypes.CDLL | None:
        polynomial = self._polynomial()
        if polynomial.steps > MOST_STEPS:
            return None
        programs = "".join(program(each, polynomial.tape) for each in polynomial.functions())
        text = f'using real = {REAL[self.dtype]};\n#include "generated.h"\n{programs}'
        return compiled_library("products", text)

    def run(self, name: str, channels: int, read: Sequence[Tensor], written: Sequence[Tensor | None]) -> None:
        """Calls ``forward``, ``backward`` or ``twice``.

        Args:
            name: Of the function.
            channels: C.
            read: Factors, scale and what else it reads.
            written: What it writes; of ``backward``, the derivative by the scale may be None.
        """
        if name == "backward" and written[1] is not None:
            name = "backward_scale"
        given = [Slices.of(value, channels) for value in read]
        arrays = [*given, *(Slices.of(value, channels) for value in written if value is not None)]
        strides, rows = ([n for a in arrays for n in getattr(a, field)] for field in ("strides", "rows"))
        pointers = [pointer for array in arrays for pointer in array.pointers]
        count = sum(len(array.pointers) for array in given)
        getattr(self._library, name)(
            ctypes.c_int64(read[0].shape[1]),
            ctypes.c_int64(channels),
            *(_array(ctypes.c_void_p, part) for part in (pointers[:count], pointers[count:])),
            *(_array(ctypes.c_int64, numbers) for numbers in (strides, rows)),
            ctypes.c_int(torch.get_num_threads()),
        )


def _array(kind: type, values: Sequence[int]) -> ctypes.Array:
    return (kind * len(values))(*values)
