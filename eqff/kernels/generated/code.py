"""Machine code for a polynomial in one precision, compiled when first asked for, and calls of it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
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


FUNCTIONS = ("forward", "backward", "backward_scale", "twice")
"""What code is made of."""


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
    def text(self) -> str | None:
        """The source; None where it would be too long."""
        polynomial = self._polynomial()
        if polynomial.steps > MOST_STEPS:
            return None
        programs = "".join(program(each, polynomial.tape) for each in polynomial.functions())
        return f'using real = {REAL[self.dtype]};\n#include "generated.h"\n{programs}'

    @cached_property
    def _library(self) -> ctypes.CDLL | None:
        return None if self.text is None else compiled_library("products", self.text)

    @property
    def functions(self) -> list[ctypes._CFuncPtr]:
        """Of the value, of its derivatives without and with the scale's, and of the second ones."""
        return [getattr(self._library, name) for name in FUNCTIONS]

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
        given = _places(read, channels)
        places = [*given, *_places([value for value in written if value is not None], channels)]
        pointers, strides, rows = zip(*places, strict=True)
        getattr(self._library, name)(
            ctypes.c_int64(read[0].shape[1]),
            ctypes.c_int64(channels),
            *(_array(ctypes.c_void_p, part) for part in (pointers[: len(given)], pointers[len(given) :])),
            *(_array(ctypes.c_int64, numbers) for numbers in (strides, rows)),
            ctypes.c_int(torch.get_num_threads()),
        )


def _places(tensors: Sequence[Tensor], channels: int) -> list[tuple[int, int, int]]:
    """Where arrays lie that are parts of the channels of tensors.

    Args:
        tensors: Contiguous (components, N, parts · C), or (N, components · C) as one array.
        channels: C.

    Returns:
        Addresses of their first numbers, numbers from a component to the next, and from an atom to the next.
    """
    found = []
    for tensor in tensors:
        first, row = tensor.data_ptr(), tensor.shape[-1]
        if tensor.ndim == 2:
            found.append((first, channels, row))
            continue
        between, size = tensor.stride(0), channels * tensor.element_size()
        found += [(first + part * size, between, row) for part in range(row // channels)]
    return found


def _array(kind: type, values: Sequence[int]) -> ctypes.Array:
    return (kind * len(values))(*values)
