"""Kernels of `eqff.kernels.triton.messages`.

Each number is a sum of one program, in one order. A few edges are taken at a time, channels side by side; components
are unrolled and their sums stay in registers. Index arithmetic is 64 bits wide: couplings of a large system are more
than 2³¹ numbers. Kernels are compiled for numbers of components and channels, not for those of atoms and edges.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["atoms"])
def sum_kernel(
    T, R, h, T2, R2, h2, A, into, sender, atoms,
    CHANNELS: tl.constexpr, INPUTS: tl.constexpr, OUTPUTS: tl.constexpr, TANGENT: tl.constexpr,
    BLOCK: tl.constexpr, PART: tl.constexpr, EDGES: tl.constexpr,
) -> None:  # fmt: skip
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
def derivative_kernel(
    T, R, h, g, T2, R2, h2, by_T, by_R, by_h, out_of, order, receiver, atoms, edges,
    CHANNELS: tl.constexpr, INPUTS: tl.constexpr, OUTPUTS: tl.constexpr, TANGENT: tl.constexpr,
    STRIPS: tl.constexpr, WIDTH: tl.constexpr, PART: tl.constexpr, EDGES: tl.constexpr,
) -> None:  # fmt: skip
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
