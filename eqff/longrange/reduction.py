"""Lattice vectors of the same lattice that are less oblique: a mesh along oblique ones is coarse across them."""

from __future__ import annotations

import torch
from torch import Tensor

OBLIQUE = 0.75
"""Share of one vector along another from which on that is subtracted. Common cells, with 60° (a half), stay as they
are, also where they fluctuate."""


def less_oblique(cell: Tensor, pbc: Tensor) -> Tensor:
    """Cells whose periodic vectors are about as short as their lattice allows, Å, (P, 3, 3).

    Pairs are reduced in turn [Lagrange and Gauss]. What is subtracted are whole multiples, so the lattice stays the
    same; derivatives go through to the given cells.

    Args:
        cell: Rows are lattice vectors, Å, (P, 3, 3).
        pbc: Which of them are periods, (P, 3) bool; others neither change nor are subtracted.
    """
    eye = torch.eye(3, dtype=cell.dtype, device=cell.device)
    both = pbc[:, :, None] & pbc[:, None, :] & (eye == 0)
    turn: Tensor | None = None
    reduced = cell.detach()
    # each step makes a vector shorter, and a lattice has few vectors below any length
    while bool((times := _times(reduced, both)).any()):
        most = times.abs().flatten(1).argmax(dim=1)
        chosen = torch.nn.functional.one_hot(most, 9).reshape(-1, 3, 3)
        step = eye - chosen * times
        turn = step if turn is None else step @ turn
        reduced = step @ reduced
    return cell if turn is None else turn @ cell


def _times(cell: Tensor, both: Tensor) -> Tensor:
    """How often vector j is to be subtracted from vector i, (P, 3, 3): never where it is the longer one."""
    products = cell @ cell.transpose(1, 2)
    squared = products.diagonal(dim1=1, dim2=2)
    share = products / torch.where(squared > 0, squared, 1.0)[:, None, :]
    wanted = both & (share.abs() > OBLIQUE) & (squared[:, None, :] <= squared[:, :, None])
    return torch.where(wanted, share.round(), 0.0)
