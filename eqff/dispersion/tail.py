"""What lies beyond the cutoff in crystals and liquids, taken as uniformly filled."""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import numpy as np
import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.dispersion.cutoffs import Cutoff
from eqff.dispersion.references import PairCoefficients
from eqff.nn.exact import ExactModule
from eqff.nn.reduce import segment_sum

POINTS = 48
"""Of each of both quadratures: rounding is reached with 24."""


class UniformTail(ExactModule):
    """E = -1/(2V) sum_ij C6_ij integral of (1 - w(r)) p_ij(r) 4 pi r² dr, w the cutoff's weight, p the damped powers.

    The usual long-range correction of molecular dynamics [Allen and Tildesley, Computer Simulation of Liquids, 2.8],
    here with a cutoff that fades out, and for coefficients that change with the geometry, through which it has forces.
    Only structures that are periodic in three directions have one.

    Args:
        cutoff: Where the sum over pairs ends.
    """

    distances: Tensor
    measure: Tensor

    def __init__(self, cutoff: Cutoff):
        super().__init__()
        x, weights = (torch.from_numpy(values) for values in np.polynomial.legendre.leggauss(POINTS))
        x, weights = (x + 1) / 2, weights / 2
        fading = cutoff.radius - cutoff.fade * x
        beyond = cutoff.radius / x  # r² dr = R³ x⁻⁴ dx, and powers fall with x⁶
        measure = torch.cat(
            [
                weights * cutoff.fade * fading.square() * (1 - cutoff.weight(fading)),
                weights * cutoff.radius**3 / x**4,
            ]
        )
        self.register_buffer("distances", torch.cat([fading, beyond]), persistent=False)
        self.register_buffer("measure", 4 * pi * measure, persistent=False)

    def forward(
        self,
        graph: AtomicGraph,
        coefficients: PairCoefficients,
        powers: Callable[[Tensor, Tensor, Tensor], Tensor],
    ) -> Tensor:
        """Each atom's share in eV, (N,).

        Args:
            graph: The batch.
            coefficients: C6 of pairs.
            powers: From distances (P,) and the rows of both elements (P,) to p in Å⁻⁶, (P,).
        """
        num_species, size = coefficients.towards.shape[1], len(self.distances)
        rows = torch.arange(num_species, device=self.distances.device)
        first = rows.repeat_interleave(num_species * size)
        second = rows.repeat_interleave(size).repeat(num_species)
        values = powers(self.distances.repeat(num_species**2), first, second)
        integral = (values.reshape(-1, size) @ self.measure).reshape(num_species, num_species)
        # how much of each reference of each element a structure has
        place = graph.batch * num_species + coefficients.species
        amounts = segment_sum(coefficients.weights, place, graph.num_structures * num_species)
        amounts = amounts.reshape(graph.num_structures, num_species, -1)[graph.batch]
        met = (coefficients.towards * amounts).sum(dim=2)
        energy = -0.5 * (met * integral[coefficients.species]).sum(dim=1)
        volume = graph.volume.to(torch.float64)
        filled = graph.pbc.all(dim=1)
        density = torch.where(filled, 1 / torch.where(filled, volume, 1.0), 0.0)
        return energy * density[graph.batch]
