"""The dipole moment of a structure from its atoms' charges and dipoles."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.nn.reduce import segment_sum
from eqff.parts import Fields, Head


class Dipole(Head):
    """mu = sum q_i r_i + sum mu_i, about the origin of the coordinates.

    For an ion it moves with the origin by Q times the shift. In a periodic structure it depends on which image of
    each atom is given, and only differences along a path have a meaning.

    Charges alone as in PhysNet [Unke & Meuwly, JCTC 15, 3678 (2019)]; with atomic dipoles as in MuML [Veit et al.,
    J. Chem. Phys. 153, 024113 (2020)].

    Args:
        channels: Channels of the backbone.
        atomic_dipoles: Whether to add mu_i, linear in the atom's l = 1 features.
    """

    writes = ("dipole",)

    def __init__(self, channels: int, atomic_dipoles: bool = True):
        super().__init__()
        self.reads = ("charges", "positions") + (("features",) if atomic_dipoles else ())
        self.degree = 1 if atomic_dipoles else 0
        self.atomic = nn.Linear(channels, 1, bias=False) if atomic_dipoles else None

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``dipole`` in e·Å, (B, 3)."""
        charges = fields["charges"]
        # atoms far from the origin contribute large values that cancel
        moments = charges.to(torch.float64)[:, None] * graph.positions.to(torch.float64)
        if self.atomic is not None:
            # e3nn's l = 1 components are x, y, z
            moments = moments + self.atomic(fields["features"][:, 1:4])[..., 0].to(torch.float64)
        return {"dipole": segment_sum(moments, graph.batch, graph.num_structures).to(charges.dtype)}
