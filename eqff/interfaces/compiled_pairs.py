"""`eqff.interfaces.pairs.FoundPairs` in compiled code: for a small molecule the time of two operations of NumPy."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from eqff.data.graph import CONTACT
from eqff.interfaces.pairs import Found, FoundPairs, Kept, Pairs
from eqff.kernels.library import compiled_library

_SOURCE = Path(__file__).with_name("pairs.cpp")


class _List(ctypes.Structure):
    """As in the source."""

    _fields_ = [
        ("count", ctypes.c_int64),
        ("sender", ctypes.c_void_p),
        ("receiver", ctypes.c_void_p),
        ("shift", ctypes.c_void_p),
        ("square", ctypes.c_double),
        ("place", ctypes.c_void_p),
        ("kept", ctypes.c_int64),
        ("most", ctypes.c_int64),
        ("contact", ctypes.c_double),
        ("touching", ctypes.c_int64),
    ]


def found_pairs(found: Found, cutoff: float) -> FoundPairs:
    """What measures pairs here: compiled code where there is a compiler, else NumPy.

    Args:
        found: All pairs that can be within the cutoff.
        cutoff: Å.
    """
    code = _code()
    return FoundPairs(found, cutoff) if code is None else CompiledPairs(found, cutoff, code)


@cache
def _code() -> ctypes.CDLL | None:
    return compiled_library("neighbours", _SOURCE.read_text(encoding="utf-8"))


class CompiledPairs(FoundPairs):
    """The same as its base class, but for pairs whose lengths differ from the cutoff by rounding alone.

    Args:
        found: All pairs that can be within the cutoff.
        cutoff: Å.
        code: The library.
    """

    def __init__(self, found: Found, cutoff: float, code: ctypes.CDLL):
        super().__init__(found, cutoff)
        sender, receiver = (np.ascontiguousarray(array, dtype=np.int64) for array in found[:2])
        # kept here, as the code only knows where they lie
        self._arrays = sender, receiver, found[2].astype(np.float64, order="C"), np.empty(len(sender), dtype=np.int64)
        addresses = [array.ctypes.data for array in self._arrays]
        self._list = _List(len(sender), *addresses[:3], cutoff**2, addresses[3], -1, 0, CONTACT**2, 0)
        self._here = ctypes.addressof(self._list)
        self._measure = _function(code.eqff_measure, ctypes.c_int, 3)
        self._keep = _function(code.eqff_keep, None, 3)

    def __call__(self, positions: np.ndarray, cell: np.ndarray | None) -> Pairs:
        """As of the base class."""
        positions = np.array(positions, dtype=np.float64, order="C")
        box = None if cell is None else np.asarray(cell, dtype=np.float64).tobytes()
        # bytes are a pointer to ctypes, made in a fraction of the time in which an array tells its address
        if self._measure(self._here, positions.tobytes(), box) or self._kept is None:
            self._kept = self._those_within(len(positions), cell is not None)
        self.touching = bool(self._list.touching)
        return Pairs(self._kept, positions, cell)

    def __reduce__(self) -> tuple[Any, ...]:
        return found_pairs, (self._found, self._cutoff)  # a copy's arrays lie elsewhere

    def _those_within(self, num_atoms: int, periodic: bool) -> Kept:
        pairs, most = self._list.kept, self._list.most
        numbers = np.empty(2 * pairs + num_atoms * most, dtype=np.int64)
        self._keep(self._here, num_atoms, numbers.ctypes.data)
        # without lattice vectors all of them are zero
        shift = self._found[2].take(self._arrays[3][:pairs], axis=0) if periodic else self._found[2][:pairs]
        table = numbers[2 * pairs :].reshape(num_atoms, most)
        return Kept(numbers[:pairs], numbers[pairs : 2 * pairs], shift, table)


def _function(function: Any, result: Any, arguments: int) -> Any:
    function.restype, function.argtypes = result, [ctypes.c_void_p] * arguments
    return function
