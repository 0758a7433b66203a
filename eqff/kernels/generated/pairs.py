"""Machine code for polynomials of pairs: atoms' rows are read by index, results of pairs are added to atoms' rows."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from eqff.kernels.call import require
from eqff.kernels.generated.code import REAL
from eqff.kernels.generated.polynomials import Components, Function
from eqff.kernels.generated.source import body
from eqff.kernels.generated.tape import Tape
from eqff.kernels.library import compiled_library

_FRAME = """
struct Array {{ real* data; index_t stride; const index_t* index; index_t rows; }};

static void load(real* box, const Array& from, index_t size, index_t pair, index_t lanes) {{
    if (from.index) {{
        for (index_t lane = 0; lane < lanes; ++lane) {{
            const real* row = from.data + from.index[pair + lane] * from.stride;
            for (index_t n = 0; n < size; ++n) box[n * width + lane] = row[n];
        }}
    }} else if (lanes == width) {{
        for (index_t n = 0; n < size; ++n) put(box + n * width, get(from.data + n * from.stride + pair));
    }} else {{
        for (index_t n = 0; n < size; ++n)
            std::memcpy(box + n * width, from.data + n * from.stride + pair, lanes * sizeof(real));
    }}
}}

static bool inside(index_t pairs, const Array* arrays, index_t count) {{
    bool found = true;
    for (index_t n = 0; n < count; ++n) {{
        bool known = !arrays[n].index;
        for (index_t m = 0; m < n; ++m) known |= arrays[m].index == arrays[n].index && arrays[m].rows <= arrays[n].rows;
        for (index_t pair = 0; !known && pair < pairs; ++pair)
            found &= arrays[n].index[pair] >= 0 && arrays[n].index[pair] < arrays[n].rows;
    }}
    return found;
}}

static void store(const real* box, const Array& to, index_t size, index_t pair, index_t lanes) {{
    if (to.index) {{
        for (index_t lane = 0; lane < lanes; ++lane) {{
            real* row = to.data + to.index[pair + lane] * to.stride;
            for (index_t n = 0; n < size; ++n) row[n] += box[n * width + lane];
        }}
    }} else {{
        for (index_t n = 0; n < size; ++n)
            std::memcpy(to.data + n * to.stride + pair, box + n * width, lanes * sizeof(real));
    }}
}}

static inline void step(const real* const* in, real* const* out, const index_t* stride) {{
{body}}}

extern "C" int run(index_t pairs, const Array* arrays) {{
    if (!inside(pairs, arrays, {arrays})) return 1;
    constexpr index_t size[] = {{{sizes}}};
    alignas(64) real box[{total} * width] = {{}};
    real* place[{arrays}];
    index_t stride[{arrays}];
    for (index_t n = 0, begin = 0; n < {arrays}; begin += size[n] * width, ++n)
        place[n] = box + begin, stride[n] = width;
    for (index_t pair = 0; pair < pairs; pair += width) {{
        const index_t lanes = pairs - pair < width ? pairs - pair : width;
        for (index_t n = 0; n < {reads}; ++n) load(place[n], arrays[n], size[n], pair, lanes);
        step(place, place + {reads}, stride);
        for (index_t n = {reads}; n < {arrays}; ++n) store(place[n], arrays[n], size[n], pair, lanes);
    }}
    return 0;
}}
"""
"""One thread goes through the pairs, so sums don't depend on how many there are."""


class _Array(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("stride", ctypes.c_int64),
        ("index", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
    ]


@dataclass(frozen=True)
class At:
    """A tensor as a function of pairs meets it.

    Attributes:
        tensor: Rows of atoms, (N, components), or of pairs by component, (components, E) or (E,).
        index: Which atom of each pair, (E,) int64; None for an array of pairs.
    """

    tensor: Tensor
    index: Tensor | None = None

    def structure(self, size: int, pairs: int) -> _Array:
        """For the library.

        Raises:
            ValueError: Sizes don't fit.
        """
        tensor, index = self.tensor, self.index
        require(tensor.is_contiguous() and tensor.numel() % size == 0, tensor)
        if index is None:
            require(tensor.numel() == size * pairs, tensor)
            return _Array(tensor.data_ptr(), pairs, None, 0)
        require(tensor.shape[1] == size and index.shape == (pairs,) and index.dtype == torch.int64, tensor, index)
        require(index.is_contiguous(), index)
        return _Array(tensor.data_ptr(), size, index.data_ptr(), tensor.shape[0])


class PairCode:
    """One function of pairs, compiled when first called.

    Args:
        tape: Where its values are.
        reads: Components of each array that is read, by name.
        writes: Values of each array that is written, by name.
    """

    def __init__(self, tape: Tape, reads: Mapping[str, int], writes: Mapping[str, Components]):
        self.tape, self.function = tape, Function("run", tuple(reads), writes)
        self.sizes = (*reads.values(), *(len(values) for values in writes.values()))

    def available(self) -> bool:
        """Whether it could be compiled."""
        return self._library is not None

    @cached_property
    def _library(self) -> ctypes.CDLL | None:
        frame = _FRAME.format(
            body=body(self.function, self.tape),
            sizes=", ".join(str(size) for size in self.sizes),
            total=sum(self.sizes),
            arrays=len(self.sizes),
            reads=len(self.function.reads),
        )
        text = f'using real = {REAL[torch.float64]};\n#include "generated.h"\n{frame}'
        return compiled_library("pairs", text)

    def __call__(self, pairs: int, arrays: Sequence[At]) -> None:
        """Runs it.

        Args:
            pairs: E.
            arrays: Those that are read, then those that are written, in float64; rows of atoms are added to.

        Raises:
            ValueError: Arrays don't fit together, or pairs name atoms that there are not.
        """
        require(len(arrays) == len(self.sizes) and all(at.tensor.dtype == torch.float64 for at in arrays))
        structures = [at.structure(size, pairs) for at, size in zip(arrays, self.sizes, strict=True)]
        if self._library.run(ctypes.c_int64(pairs), (_Array * len(structures))(*structures)):
            raise ValueError("Pairs name atoms beyond those that there are.")
