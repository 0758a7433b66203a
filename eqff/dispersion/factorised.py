"""The energy of all pairs and images whose C6 are products: lattice sums of 1/r⁶, with what damping takes from it."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.dispersion.all_pairs import AllPairs
from eqff.dispersion.cutoffs import Cutoff
from eqff.dispersion.damping import Damping
from eqff.dispersion.inverse_sixth import near_part, smooth_rows
from eqff.dispersion.references import PairCoefficients
from eqff.dispersion.tail import UniformTail
from eqff.longrange.tuning import Splitting
from eqff.nn.exact import ExactModule
from eqff.nn.reduce import segment_sum


class FactorisedSum(ExactModule):
    """E = -1/2 sum_ij c_i c_j p(r_ij), where p is about 1/r⁶ from the cutoff on.

    All pairs of open structures. In periodic ones 1/r⁶ is summed over the lattice as Ewald does [Williams, Acta Cryst.
    A 27, 452 (1971)]; p - 1/r⁶, which falls as r^-12, over pairs to the cutoff, and beyond it as uniformly filled space
    in crystals and liquids. Means of coefficients other than the geometric one do not factorise.

    Args:
        damping: p.
        cutoff: Of pairs in periodic structures.
        accuracy: Error of lattice sums, relative (see `eqff.longrange.tuning`).
    """

    def __init__(self, damping: Damping, cutoff: Cutoff, accuracy: float):
        super().__init__()
        self.damping, self.cutoff = damping, cutoff
        self.splitting = Splitting.of(cutoff.radius, accuracy)
        self.tail = UniformTail(cutoff)

    def forward(self, graph: AtomicGraph, roots: Tensor, products: PairCoefficients) -> Tensor:
        """Half of each pair's energy at each of its atoms in eV, (N,).

        Args:
            graph: The batch, with the lists of `AllPairs`.
            roots: c in √(eV·Å⁶), float64, (N,).
            products: The same, for the uniform part.
        """
        pairs, species = AllPairs.of(graph, self.cutoff.radius), products.species
        lengths, first, second = pairs.lengths, pairs.receiver, pairs.sender
        inner = torch.where(pairs.periodic > 0, self.cutoff.weight(lengths), 1.0)
        whole = near_part(lengths, self.splitting.alpha * pairs.periodic) * pairs.fade / lengths**6
        each = self._less(lengths, species[first], species[second]) * inner + whole
        energy = segment_sum(-0.5 * roots[first] * roots[second] * each, first, graph.num_atoms)
        if not bool(graph.pbc.any()):
            return energy
        energy = energy - 0.5 * smooth_rows(graph, self.splitting, roots)
        return energy + self.tail(graph, products, self._less)

    def _less(self, lengths: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """p - 1/r⁶, Å⁻⁶."""
        return self.damping(lengths, first, second) - lengths**-6
