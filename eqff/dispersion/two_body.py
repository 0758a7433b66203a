"""The energy of pairs, whatever their C6 coefficients come from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.dispersion.cutoffs import Cutoff
from eqff.dispersion.damping import Damping
from eqff.dispersion.pairs import Pairs
from eqff.dispersion.references import PairCoefficients
from eqff.dispersion.tables import rows, table
from eqff.dispersion.tail import UniformTail
from eqff.longrange.interaction import require_apart
from eqff.nn.exact import ExactModule
from eqff.units import BOHR

PAIRS = "dispersion"
"""Name of the neighbour list of pairs."""


class TwoBody(ExactModule):
    """E = -sum over pairs of C6 p(r), with p the damped powers of r, smooth to the cutoff, and uniform beyond.

    Args:
        damping: The damped powers.
        cutoff: Of pairs.
        tail: Whether crystals and liquids have what lies beyond the cutoff, see `UniformTail`.
    """

    def __init__(self, damping: Damping, cutoff: Cutoff, tail: bool):
        super().__init__()
        self.damping, self.cutoff = damping, cutoff
        self.tail = UniformTail(cutoff) if tail else None

    def forward(self, graph: AtomicGraph, coefficients: PairCoefficients) -> Tensor:
        """Half of each pair's energy at each of its atoms in eV, (N,).

        Args:
            graph: Its list `PAIRS` reaches at least to the cutoff.
            coefficients: C6 of pairs.

        Raises:
            ModelError: Two atoms stand in one place, where distances have no derivatives.
        """
        require_apart(graph.edges[PAIRS], graph.batch, "dispersion interaction")
        species = coefficients.species

        def pair_energy(first: Tensor, second: Tensor, lengths: Tensor) -> Tensor:
            powers = self.damping(lengths, species[first], species[second]) * self.cutoff.weight(lengths)
            return -coefficients.c6(first, second) * powers

        energy = Pairs.of(graph.edges[PAIRS], self.cutoff).per_atom(pair_energy, graph.num_atoms)
        return energy if self.tail is None else energy + self.tail(graph, coefficients, self.damping)


def moment_roots(elements: Sequence[int]) -> Tensor:
    """sqrt(3/2 sqrt(Z) <r⁴>/<r²>) in Å of each element, whose product for two atoms is C8/C6, (S,).

    [Grimme et al., J. Chem. Phys. 132, 154104 (2010), eqs. 6-7]

    Raises:
        ConfigError: An element beyond Z = 103.
    """
    raw = rows(table("elements")["r4_over_r2"], elements)
    return (1.5 * torch.tensor(list(elements), dtype=torch.float64).sqrt() * raw).sqrt() * BOHR
