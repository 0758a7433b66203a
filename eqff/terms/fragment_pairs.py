"""Energies of pairs of atoms in different fragments, read from the features of both and how these lie to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.errors import ModelError
from eqff.nn.radial import BesselBasis, polynomial_cutoff
from eqff.nn.reduce import segment_sum
from eqff.nn.spherical import SphericalHarmonics, components
from eqff.parts import Fields, Term
from eqff.ranges import Count, NonNegative, Positive

BETWEEN = "fragment_pairs"
"""Name of the neighbour list that reaches from one fragment to another."""

CONTACT = 3.0
"""Å, a usual distance of atoms in contact, where what falls off with distance is 1."""


@dataclass(frozen=True)
class PairsBetween:
    """Pairs of atoms in different fragments, each in both directions.

    Attributes:
        first: Atom i, (P,).
        second: Atom j, (P,).
        lengths: Å, (P,).
        directions: Unit vectors from i to j, (P, 3).
    """

    first: Tensor
    second: Tensor
    lengths: Tensor
    directions: Tensor

    @classmethod
    def of(cls, graph: AtomicGraph, groups: Tensor, cutoff: float) -> PairsBetween:
        """Those of `BETWEEN` within a cutoff.

        Args:
            graph: An open batch.
            groups: Number of each atom's fragment in its structure, (N,).
            cutoff: Å.
        """
        edges = graph.edges[BETWEEN]
        kept = ((groups[edges.sender] != groups[edges.receiver]) & (edges.lengths < cutoff)).nonzero()[:, 0]
        lengths = edges.lengths[kept]
        return cls(edges.receiver[kept], edges.sender[kept], lengths, edges.vectors[kept] / lengths[:, None])


class Directional(nn.Module):
    """How features of degrees above 0 lie to a pair: along it, at both atoms, and to each other.

    With u = W h of k channels, for each degree l: sum_m u_i Y_m(d) and sum_m u_j Y_m(-d), where d is the direction from
    i to j, and sum_m u_i u_j.

    Args:
        degree: L, at least 1.
        channels: Of the features.
        size: k.
    """

    def __init__(self, degree: int, channels: int, size: int):
        super().__init__()
        self.degree, self.outputs = degree, 3 * degree * size
        self.mix = nn.ModuleList(nn.Linear(channels, size, bias=False) for _ in range(degree))
        self.harmonics = SphericalHarmonics(degree)

    def forward(self, features: Tensor, pairs: PairsBetween) -> Tensor:
        """From (N, (L + 1)² or more, C) to (P, 3 L k), none of which turns with the frame."""
        harmonics = self.harmonics(pairs.directions)
        found = []
        for l, mix in enumerate(self.mix, start=1):
            own = mix(features[:, components(l)])
            first, second, along = own[pairs.first], own[pairs.second], harmonics[:, components(l), None]
            found += [(first * along).sum(dim=1), (-1) ** l * (second * along).sum(dim=1), (first * second).sum(dim=1)]
        return torch.cat(found, dim=1)


class FragmentPairs(Term):
    """E = sum over ordered pairs ij of atoms in different fragments of f(s_i, s_j, d_ij, r_ij) (r_0/r_ij)^n w(r_ij).

    The pair energies of AP-Net [Glick et al., J. Chem. Phys. 153, 044112 (2020)], on features of any backbone: f is a
    network of the scalars s of both atoms, of the distance, and of how features of higher degree lie to the pair
    (`Directional`), which in AP-Net are messages weighted by angles. As both orders of a pair are summed, exchanging
    fragments changes nothing. The energy is zero where no atoms of two fragments are within the cutoff; tails beyond it
    are another term's (`eqff.terms.multipoles`). A model can have several such terms, one for each part of the
    interaction (`eqff.heads.energy_components`). For open structures.

    Args:
        channels: Of the backbone.
        num_passes: Of the backbone.
        energy_scale: eV; a typical size of what is left to learn (offered by the data).
        cutoff: Å, where w has ended smoothly.
        power: n; 3 as in AP-Net, 0 for none.
        degree: Highest degree of features that is read; 0 for distances alone.
        hidden: Width of both hidden layers.
        directions: k, channels of each degree that are read.
        radial_size: Functions of distance.
        groups: The field of numbers of fragments.
    """

    compiles = False  # pairs are selected by value

    def __init__(
        self,
        channels: int,
        num_passes: int,
        energy_scale: float = 1.0,
        cutoff: Positive = 8.0,
        power: NonNegative = 3.0,
        degree: Annotated[int, Interval(ge=0, le=4)] = 1,
        hidden: Count = 64,
        directions: Count = 8,
        radial_size: Count = 12,
        groups: str = "molecules",
    ):
        super().__init__()
        self.cutoff, self.power, self.degree, self.groups = cutoff, power, degree, groups
        self.reads = ("pass_scalars", groups) + (("features",) if degree else ())
        self.basis = BesselBasis(cutoff, radial_size)
        self.atoms = nn.Linear(channels * num_passes, 2 * hidden)
        self.radial = nn.Linear(radial_size, 2 * hidden)
        self.directional = Directional(degree, channels, directions) if degree else None
        self.between = nn.Linear(self.directional.outputs, hidden, bias=False) if degree else None
        self.network = nn.Sequential(nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 1, bias=False))
        self.register_buffer("energy_scale", torch.tensor(float(energy_scale)))

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """A list of its own."""
        return {BETWEEN: self.cutoff}

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """Energies of an atom's pairs, half of each pair's, in eV, (N,) float64.

        Raises:
            ModelError: A periodic structure.
        """
        if not graph.open and bool(graph.pbc.any()):
            raise ModelError(
                "Pairs of fragments are for open structures: in periodic ones, images of a fragment are not told from "
                "the fragment itself. Cut a cluster out (pbc=False), or leave this term out."
            )
        pairs = PairsBetween.of(graph, fields[self.groups], self.cutoff)
        first, second = self.atoms(fields["pass_scalars"].flatten(1)).chunk(2, dim=1)
        hidden = first[pairs.first] + second[pairs.second]
        if self.directional is not None:
            hidden = hidden + self.between(self.directional(fields["features"], pairs))
        gate, shift = self.radial(self.basis(pairs.lengths)).chunk(2, dim=1)
        energy = self.network(hidden * gate + shift)[:, 0] * (CONTACT / pairs.lengths) ** self.power
        energy = self.energy_scale * energy * polynomial_cutoff(pairs.lengths, self.cutoff)
        return {"energy": segment_sum(energy.to(torch.float64), pairs.first, graph.num_atoms)}
