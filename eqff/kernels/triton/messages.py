"""See `eqff.kernels.messages`: one program for each atom that messages come to, or go out of; nothing adds atomically.

So each number is a sum of one program, in one order. A few edges are taken at a time, channels side by side; components
are unrolled and their sums stay in registers. Index arithmetic is 64 bits wide: couplings of a large system are more
than 2³¹ numbers. Kernels are compiled for numbers of components and channels, not for those of atoms and edges.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import triton
import triton.language as tl
from torch import Tensor

from eqff.kernels.messages import FIRST, SECOND, SUM
from eqff.kernels.triton.launch import Launch


@triton.jit(do_not_specialize=["atoms"])
def _sum_kernel(
    T, R, h, T2, R2, h2, A, into, sender, atoms,
    CHANNELS: tl.constexpr, INPUTS: tl.constexpr, OUTPUTS: tl.constexpr, TANGENT: tl.constexpr,
    BLOCK: tl.constexpr, PART: tl.constexpr, EDGES: tl.constexpr,
):  # fmt: skip
    """A of one receiver, block of channels and part of the outputs; with TANGENT, its derivative along T2, R2, h2."""
    i = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    begin = tl.program_id(2) * PART
    there = (c < CHANNELS)[None, :]
    plane = tl.full((1,), CHANNELS, tl.int64) * atoms
    zero = tl.full((EDGES, BLOCK), 0.0, h.dtype.element_ty)
    sums = (zero,) * PART
    last = tl.load(into + i + 1)
    for start in range(tl.load(into + i), last, EDGES):
        place = start + tl.arange(0, EDGES)
        e = tl.minimum(place, last - 1)  # what lies behind the last edge is the last once more, with zero weight
        live = (place < last)[:, None] & there
        row = e[:, None] * CHANNELS + c[None, :]
        at = tl.load(sender + e)[:, None] * CHANNELS + c[None, :]
        couplings = T + e * (OUTPUTS * INPUTS)
        r = tl.load(R + row, live, 0.0)
        if TANGENT:
            r2 = tl.load(R2 + row, live, 0.0)
            couplings2 = T2 + e * (OUTPUTS * INPUTS)
        for m in tl.static_range(INPUTS):
            x = tl.load(h + at + m * plane, there, 0.0)
            if TANGENT:
                x2 = r * x
                x = r2 * x + r * tl.load(h2 + at + m * plane, there, 0.0)
            else:
                x = r * x
            added = ()
            for k in tl.static_range(PART):
                n = tl.minimum(begin + k, OUTPUTS - 1)
                value = sums[k] + tl.load(couplings + (n * INPUTS + m))[:, None] * x
                if TANGENT:
                    value += tl.load(couplings2 + (n * INPUTS + m))[:, None] * x2
                added = added + (value,)
            sums = added
    for k in tl.static_range(PART):
        to = A + i * CHANNELS + c + (begin + k) * plane
        tl.store(to, tl.sum(sums[k], axis=0), c < tl.where(begin + k < OUTPUTS, CHANNELS, 0))


@triton.jit
def _turned(couplings, given, INPUTS: tl.constexpr, OUTPUTS: tl.constexpr):
    """Σ_n T[n, m] g[n, c] of each edge, for the input m that ``couplings`` begin at."""
    total = tl.load(couplings)[None, :, None] * given[0]
    for n in tl.static_range(1, OUTPUTS):
        total += tl.load(couplings + n * INPUTS)[None, :, None] * given[n]
    return total


@triton.jit
def _collected(
    tiles, given, weighed, column, k: tl.constexpr,
    OUTPUTS: tl.constexpr, PART: tl.constexpr, COUNT: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Puts Σ_c g[n, c] weighed[c] of each edge in place n · PART + k of its row, kept as several tiles, for all n."""
    for n in tl.static_range(OUTPUTS):
        value = tl.sum(tl.sum(given[n] * weighed, axis=0), axis=1)[:, None]
        changed = ()
        for tile in tl.static_range(COUNT):
            if (n * PART + k) // WIDTH == tile:
                changed = changed + (tl.where(column == (n * PART + k) % WIDTH, value, tiles[tile]),)
            else:
                changed = changed + (tiles[tile],)
        tiles = changed
    return tiles


@triton.jit
def _store(
    rows, mine, tiles, column, begin,
    INPUTS: tl.constexpr, OUTPUTS: tl.constexpr, PART: tl.constexpr, COUNT: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Writes what `_collected` gives, (edges, OUTPUTS · PART), into the columns of this part of the inputs."""
    for tile in tl.static_range(COUNT):
        to = tile * WIDTH + column
        n, m = to // PART, begin + to % PART
        if PART != INPUTS:
            to = n * INPUTS + m
        tl.store(rows + to, tiles[tile], mine & (n < OUTPUTS) & (m < INPUTS))


@triton.jit(do_not_specialize=["atoms", "edges"])
def _derivative_kernel(
    T, R, h, g, T2, R2, h2, by_T, by_R, by_h, out_of, order, receiver, atoms, edges,
    CHANNELS: tl.constexpr, INPUTS: tl.constexpr, OUTPUTS: tl.constexpr, TANGENT: tl.constexpr,
    STRIPS: tl.constexpr, WIDTH: tl.constexpr, PART: tl.constexpr, EDGES: tl.constexpr,
):  # fmt: skip
    """Derivatives of <g, A> by h of one sender and by T and R of its edges; with TANGENT, those along T2, R2, h2.

    Arrays are (STRIPS, EDGES, WIDTH): a thread has all strips of its channels, so that they are added up before others
    are asked for theirs. What a sum over all channels or all inputs is (by T, by R) is one sum for each block of them,
    behind each other.
    """
    j = tl.program_id(0).to(tl.int64)
    strips = (tl.program_id(1) * STRIPS + tl.arange(0, STRIPS)) * WIDTH
    c = strips[:, None, None] + tl.arange(0, WIDTH)[None, None, :]
    begin = tl.program_id(2) * PART
    there = c < CHANNELS
    plane = tl.full((1,), CHANNELS, tl.int64) * atoms
    # a row for each edge, though all are the same: it has the layout that all else has, so nothing is rearranged
    home = tl.full((1, EDGES, 1), CHANNELS, tl.int64) * j + c
    by_T += tl.program_id(1) * (edges.to(tl.int64) * (OUTPUTS * INPUTS))
    by_R += tl.program_id(2) * (edges.to(tl.int64) * CHANNELS)
    zero = tl.full((STRIPS, EDGES, WIDTH), 0.0, h.dtype.element_ty)
    nothing = tl.full((EDGES, WIDTH), 0.0, h.dtype.element_ty)
    column = tl.arange(0, WIDTH)[None, :]
    TILES: tl.constexpr = (OUTPUTS * PART + WIDTH - 1) // WIDTH
    sums = (zero,) * PART
    last = tl.load(out_of + j + 1)
    for start in range(tl.load(out_of + j), last, EDGES):
        place = start + tl.arange(0, EDGES)
        mine = place < last
        live = mine[None, :, None] & there
        e = tl.load(order + tl.minimum(place, last - 1))
        row = e[None, :, None] * CHANNELS + c
        at = tl.load(receiver + e)[None, :, None] * CHANNELS + c
        r = tl.load(R + row, live, 0.0)
        if TANGENT:
            r2 = tl.load(R2 + row, live, 0.0)
        given = ()
        for n in tl.static_range(OUTPUTS):
            given = given + (tl.load(g + at + n * plane, there, 0.0),)
        by_r = zero
        products = (nothing,) * TILES
        added = ()
        for k in tl.static_range(PART):
            m = tl.minimum(begin + k, INPUTS - 1)
            known = c < tl.where(begin + k < INPUTS, CHANNELS, 0)
            x = tl.load(h + home + m * plane, known, 0.0)
            if TANGENT:
                x2 = tl.load(h2 + home + m * plane, known, 0.0)
                weighed = r2 * x + r * x2
            else:
                weighed = r * x
            products = _collected(products, given, weighed, column, k, OUTPUTS, PART, TILES, WIDTH)
            coupling = e * (OUTPUTS * INPUTS) + m
            y = _turned(T + coupling, given, INPUTS, OUTPUTS)
            if TANGENT:
                y2 = _turned(T2 + coupling, given, INPUTS, OUTPUTS)
                by_r += y2 * x + y * x2
                added = added + (sums[k] + r2 * y + r * y2,)
            else:
                by_r += y * x
                added = added + (sums[k] + r * y,)
        sums = added
        tl.store(by_R + row, by_r, live)
        rows = by_T + e[:, None] * (OUTPUTS * INPUTS)
        _store(rows, mine[:, None], products, column, begin, INPUTS, OUTPUTS, PART, TILES, WIDTH)
    c = strips[:, None] + tl.arange(0, WIDTH)[None, :]
    for k in tl.static_range(PART):
        to = by_h + j * CHANNELS + c + (begin + k) * plane
        tl.store(to, tl.sum(sums[k], axis=1), c < tl.where(begin + k < INPUTS, CHANNELS, 0))


def edge_order(receiver: Tensor, sender: Tensor, into: Tensor, out_of: Tensor, order: Tensor) -> bool:
    """Fills ``into``, ``out_of`` and ``order``; False if edges are not sorted or name atoms that don't exist.

    PyTorch's sort is what there is to do here. The one answer is what the CPU waits for.
    """
    num_atoms = len(into) - 1
    atoms = torch.arange(num_atoms + 1, device=receiver.device)
    # a radix sort of half as many digits
    sorted_sender, found = torch.sort(sender.to(torch.int32) if num_atoms < 2**31 else sender, stable=True)
    order.copy_(found)
    torch.searchsorted(receiver, atoms, out=into)
    out_of.copy_(torch.searchsorted(sorted_sender, atoms.to(sorted_sender.dtype)))
    wrong = (receiver < 0) | (receiver >= num_atoms) | (sender < 0) | (sender >= num_atoms)
    wrong[1:] |= receiver[1:] < receiver[:-1]
    return not bool(wrong.any())


def run(what: int, edges: tuple[Tensor, ...], given: Tensor, features: Tensor, arrays: Mapping[str, Tensor]) -> None:
    """Fills the results among ``arrays``; see `eqff.kernels.cpp.messages.run`."""
    with torch.cuda.device_of(features):
        if what != SUM:
            _derivatives(edges, given, features, arrays, tangent=what == SECOND)
        if what != FIRST:
            _sum(edges, given, features, arrays, tangent=what == SECOND)


def _sum(
    edges: tuple[Tensor, ...], given: Tensor, features: Tensor, arrays: Mapping[str, Tensor], tangent: bool
) -> None:
    _, sender, into, _, _ = edges
    (inputs, atoms, channels), outputs = features.shape, given.shape[0]
    if not given.numel():
        return
    shape = Launch.of(atoms, channels, outputs, 0, features)
    T, R, h, T2, R2, h2 = _read(arrays, tangent)
    _sum_kernel[(atoms, shape.blocks, shape.parts)](
        *(T, R, h, T2, R2, h2, arrays["A"], into, sender, atoms),
        **_constants(channels, inputs, outputs, tangent, shape),
        BLOCK=shape.block,
    )


def _derivatives(
    edges: tuple[Tensor, ...], given: Tensor, features: Tensor, arrays: Mapping[str, Tensor], tangent: bool
) -> None:
    receiver, _, _, out_of, order = edges
    (inputs, atoms, channels), outputs = features.shape, given.shape[0]
    if not features.numel():
        return
    held = outputs + 4 * tangent  # twice as many temporary ones
    shape = Launch.of(atoms, channels, inputs, held, features)
    T, R, h, T2, R2, h2 = _read(arrays, tangent)
    by_T, by_R = _each(arrays["by_T"], shape.blocks), _each(arrays["by_R"], shape.parts)
    _derivative_kernel[(atoms, shape.blocks, shape.parts)](
        *(T, R, h, arrays["g"], T2, R2, h2, by_T, by_R, arrays["by_h"], out_of, order, receiver, atoms, len(order)),
        **_constants(channels, inputs, outputs, tangent, shape),
        **{"STRIPS": shape.strips, "WIDTH": shape.block // shape.strips},
    )
    _add_up(by_T, arrays["by_T"])
    _add_up(by_R, arrays["by_R"])


def _read(arrays: Mapping[str, Tensor], tangent: bool) -> tuple[Tensor, ...]:
    names = ("T", "R", "h")
    return *(arrays[name] for name in names), *(arrays[name + "2" if tangent else name] for name in names)


def _each(result: Tensor, count: int) -> Tensor:
    """Room for parts of a sum; the result itself where there is one."""
    return result if count == 1 else result.new_empty(count, *result.shape)


def _add_up(parts: Tensor, result: Tensor) -> None:
    if parts is not result:
        torch.sum(parts, dim=0, out=result)


def _constants(channels: int, inputs: int, outputs: int, tangent: bool, shape: Launch) -> dict[str, int | bool]:
    """What kernels are compiled for, and how."""
    sizes = {"CHANNELS": channels, "INPUTS": inputs, "OUTPUTS": outputs, "TANGENT": tangent}
    program = {"PART": shape.part, "EDGES": shape.edges, "num_warps": shape.warps}
    return {**sizes, **program, "enable_fp_fusion": True}
