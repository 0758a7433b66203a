"""The energy of three fluctuating dipoles: Axilrod, Teller and Muto."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from eqff.data.graph import Edges
from eqff.dispersion.cutoffs import Cutoff
from eqff.dispersion.pairs import CHUNK
from eqff.dispersion.references import PairCoefficients
from eqff.dispersion.triples import TripleSource
from eqff.nn.exact import ExactModule
from eqff.nn.reduce import segment_sum
from eqff.units import HARTREE

TRIPLES = "dispersion_triples"
"""Name of the neighbour list that triples are found in, shorter than that of pairs."""


class AxilrodTellerMuto(ExactModule):
    """E = s9 sum over triples of C9 (3 cos a cos b cos c + 1) / (r_ij r_jk r_ki)³ / (1 + 6 (R/r)^exponent).

    C9 = sqrt(C6_ij C6_jk C6_ki) in atomic units; r and R are the geometric means of the distances and of the pairs'
    radii [Grimme et al., J. Chem. Phys. 132, 154104 (2010)]. The cutoff holds for each of the three distances. Time
    grows with its sixth power, memory with the number of pairs only.

    Args:
        s9: Scale.
        exponent: Of the damping, 16 in D3 and D4.
        radii: R of every two elements in Å, (S, S).
        cutoff: Of the distances.
    """

    radii: Tensor

    def __init__(self, s9: float, exponent: float, radii: Tensor, cutoff: Cutoff):
        super().__init__()
        self.s9, self.exponent, self.cutoff = s9, exponent, cutoff
        self.register_buffer("radii", radii, persistent=False)

    def forward(self, edges: Edges, coefficients: PairCoefficients) -> Tensor:
        """A third of each triple's energy at each of its atoms in eV, (N,).

        Args:
            edges: Neighbours, at least within the cutoff.
            coefficients: C6 of pairs.
        """
        num_atoms, species = coefficients.species.shape[0], coefficients.species
        source = TripleSource.of(edges, self.cutoff, num_atoms)
        # what belongs to one edge is computed once and not for each of its triples
        faded = self.cutoff.weight(source.lengths) * coefficients.c6(source.receiver, source.sender).sqrt()
        radii = self.radii[species[source.receiver], species[source.sender]]
        arguments = (source, faded, radii, coefficients)
        ranges = list(source.ranges(CHUNK))
        if len(ranges) == 1:
            return self._piece(*ranges[0], *arguments)
        energy = torch.zeros(num_atoms, dtype=torch.float64, device=source.lengths.device)
        for start, stop in ranges:
            energy = energy + checkpoint(self._piece, start, stop, *arguments, use_reentrant=False)
        return energy

    def _piece(
        self, start: int, stop: int, source: TripleSource, faded: Tensor, radii: Tensor, coefficients: PairCoefficients
    ) -> Tensor:
        """The share of the triples whose edge to j is in [start, stop), (N,)."""
        species = coefficients.species
        to_j, to_k = self._triples(start, stop, source)
        i, j, k = source.receiver[to_j], source.sender[to_j], source.sender[to_k]
        across = torch.linalg.vector_norm(source.vectors[to_k] - source.vectors[to_j], dim=1)
        lengths = (source.lengths[to_j], source.lengths[to_k], across)
        product = lengths[0] * lengths[1] * lengths[2]
        reach = radii[to_j] * radii[to_k] * self.radii[species[j], species[k]]
        damping = 1 / (1 + 6 * (reach / product) ** (self.exponent / 3))
        faded_across = self.cutoff.weight(across) * coefficients.c6(j, k).sqrt()
        c9 = faded[to_j] * faded[to_k] * faded_across * (self.s9 / HARTREE**0.5)
        energy = source.weights(to_j, to_k) * c9 * damping * _angular(*(x.square() for x in lengths)) / product**3
        return sum(segment_sum(energy / 3, atom, species.shape[0]) for atom in (i, j, k))

    def _triples(self, start: int, stop: int, source: TripleSource) -> tuple[Tensor, Tensor]:
        """Of the candidates, those whose third distance is within the cutoff."""
        with torch.no_grad():
            to_j, to_k = source.candidates(start, stop)
            across = torch.linalg.vector_norm(source.vectors[to_k] - source.vectors[to_j], dim=1)
            near = self.cutoff.contains(across)
            return to_j[near], to_k[near]


def _angular(ij: Tensor, ik: Tensor, jk: Tensor) -> Tensor:
    """3 cos a cos b cos c + 1, from squared distances."""
    cosines = (ij + ik - jk) * (ij + jk - ik) * (ik + jk - ij)
    return 0.375 * cosines / (ij * ik * jk) + 1
