"""Multipole moments of atoms, and the potential, field and field gradient that others make at their places.

Quadrupoles are Buckingham's traceless Theta = 1/2 sum q (3 r r - r²) [Buckingham, Adv. Chem. Phys. 12, 107 (1967)]: the
potential of one is Theta:rr / r⁵, and its energy in a potential phi is Theta:(grad grad phi) / 3. OpenMM, Tinker and
AMOEBA's files hold Theta / 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.errors import ModelError

COMPONENTS = (1, 4, 10)
"""Numbers in a packed row with moments (or fields) up to rank 0, 1, 2."""

UPPER = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
"""Which component of a symmetric matrix stands in each place of a packed row."""

_PLACE = (0, 1, 2, 1, 3, 4, 2, 4, 5)  # of each of nine components among the six


@dataclass(frozen=True)
class Moments:
    """Of every atom of a batch; absent ranks are zero.

    Attributes:
        charges: q in e, (N,).
        dipoles: mu in e·Å, (N, 3).
        quadrupoles: Theta in e·Å², (N, 3, 3); their symmetric traceless part acts.
    """

    charges: Tensor | None = None
    dipoles: Tensor | None = None
    quadrupoles: Tensor | None = None

    def __post_init__(self) -> None:
        if self.charges is None and self.dipoles is None and self.quadrupoles is None:
            raise ModelError("There are no moments: give charges, dipoles or quadrupoles.")

    @property
    def rank(self) -> int:
        """Of the highest moments that are there: 0, 1 or 2."""
        return 2 if self.quadrupoles is not None else 1 if self.dipoles is not None else 0

    def packed(self) -> Tensor:
        """Rows q, mu (3), Theta/3 (6 as in `UPPER`) up to the rank, float64, (N, `COMPONENTS`[rank])."""
        some = next(x for x in (self.charges, self.dipoles, self.quadrupoles) if x is not None)
        options = {"dtype": torch.float64, "device": some.device}
        count = some.shape[0]
        columns = [torch.zeros(count, 1, **options) if self.charges is None else self.charges.to(**options)[:, None]]
        if self.rank >= 1:
            columns.append(torch.zeros(count, 3, **options) if self.dipoles is None else self.dipoles.to(**options))
        if self.quadrupoles is not None:
            columns.append(pack_symmetric(traceless(self.quadrupoles.to(**options))) / 3)
        return torch.cat(columns, dim=1)


@dataclass(frozen=True)
class LocalFields:
    """What all other moments make at the place of each atom.

    Attributes:
        potential: phi in V, (N,).
        field: E = -grad phi in V/Å, (N, 3); None if not asked for.
        gradient: d E_b / d r_a in V/Å², (N, 3, 3); None if not asked for.
    """

    potential: Tensor
    field: Tensor | None = None
    gradient: Tensor | None = None

    @classmethod
    def unpack(cls, rows: Tensor) -> LocalFields:
        """From rows phi, E (3), gradient (6 as in `UPPER`), (N, 1, 4 or 10)."""
        count = rows.shape[1]
        return cls(
            potential=rows[:, 0],
            field=rows[:, 1:4] if count >= COMPONENTS[1] else None,
            gradient=unpack_symmetric(rows[:, 4:]) if count >= COMPONENTS[2] else None,
        )

    def packed(self) -> Tensor:
        """The rows from which `unpack` makes this."""
        columns = [self.potential[:, None]]
        columns += [] if self.field is None else [self.field]
        columns += [] if self.gradient is None else [pack_symmetric(self.gradient)]
        return torch.cat(columns, dim=1)


def traceless(matrices: Tensor) -> Tensor:
    """Symmetric traceless part of (..., 3, 3)."""
    symmetric = 0.5 * (matrices + matrices.transpose(-1, -2))
    trace = symmetric.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    eye = torch.eye(3, dtype=matrices.dtype, device=matrices.device)
    return symmetric - trace[..., None, None] / 3 * eye


def pack_symmetric(matrices: Tensor) -> Tensor:
    """The six components `UPPER` of symmetric matrices (N, 3, 3), (N, 6)."""
    return torch.stack([matrices[:, a, b] for a, b in UPPER], dim=1)


def unpack_symmetric(components: Tensor | Sequence[Tensor]) -> Tensor:
    """Symmetric matrices (N, 3, 3) from their components `UPPER`, (N, 6) or six of (N,)."""
    columns = components.unbind(dim=1) if isinstance(components, Tensor) else components
    return torch.stack([columns[place] for place in _PLACE], dim=1).reshape(-1, 3, 3)
