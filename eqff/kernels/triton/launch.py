"""How many channels and edges one program takes, and how many warps: from sizes alone, so runs repeat to the bit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
import triton
from torch import Tensor

BLOCKS = (64, 32, 16)
"""Channels that one program may take."""
SHARED = 16
"""Channels whose work is that of what a program does however many it takes: indices, couplings."""
PART = 9
"""Components of one side that one program keeps sums of, at most: more would not fit into registers."""
MANY = 2048
"""Programs that fill a large GPU (132 multiprocessors with 16 each)."""
CROWDED = 22
"""Rows of a program beyond which a thread takes two channels in any precision, to have registers for all."""
ROOMY = 14
"""Rows of a program up to which a thread takes several times as many channels."""
STRIPS = 2 if tuple(map(int, triton.__version__.split(".")[:2])) >= (3, 7) else 1
"""So many times as many; Triton 3.6 would spread them over other threads."""
ACCESS = 16
"""Bytes that a thread reads at once."""


@dataclass(frozen=True)
class Launch:
    """Shape of the programs over atoms, blocks of channels and parts of components.

    A thread reads 16 bytes, so a row of 64 channels in float32 takes half of a warp: two edges are under way in each.
    One warp a program needs no barrier; where programs are too few to fill the GPU, four share the edges of an atom and
    add up at the end.

    Sums over channels are the dearer the more threads share a row: where registers allow it, a row is cut into two
    strips and each thread has channels of both, so that half as many threads have to be asked.

    Attributes:
        block: Channels of a program.
        strips: Of a block.
        blocks: So many that all channels are in one.
        part: Components of a program.
        parts: So many that all components are in one.
        edges: Edges under way at once in a program.
        warps: Of a program.
    """

    block: int
    strips: int
    blocks: int
    part: int
    parts: int
    edges: int
    warps: int

    @classmethod
    def of(cls, atoms: int, channels: int, components: int, held: int, like: Tensor) -> Launch:
        """For these sizes.

        Args:
            atoms: N.
            channels: C.
            components: Of the side that is split into parts.
            held: Rows that a program keeps beside those of its part.
            like: Of the device and the precision.
        """
        block = min(BLOCKS, key=lambda size: _up(channels, size) * (size + SHARED))
        blocks, parts = _up(channels, block), _up(components, PART)
        part = _up(components, parts)
        rows = part + held
        wide = ACCESS // (max(like.itemsize, 8) if rows > CROWDED else like.itemsize)
        strips = STRIPS if held and rows <= ROOMY and block > BLOCKS[-1] else 1
        programs = atoms * blocks * parts
        warps = 1 if programs >= MANY else 2 if programs >= MANY // 2 else 4
        edges = max(1, warps * lanes(like.device) * wide * strips // block)
        return cls(block, strips, blocks, part, parts, edges, warps)


@cache
def lanes(device: torch.device) -> int:
    """Threads of a warp."""
    return torch.cuda.get_device_properties(device).warp_size if device.type == "cuda" else 32


def _up(count: int, size: int) -> int:
    return -(-count // size)
