"""Lattice sums of 1/r⁶, exact in three, two and one periodic directions.

As for charges, 1/r⁶ is split at a length 1/a: what ends nearby is summed over neighbours, the rest over wave vectors.

    1/r⁶ = exp(-x²) (1 + x² + x⁴/2) / r⁶ + a⁶ ∫ s⁵ exp(-s² x²) ds,   x = a r,  s from 0 to 1

The second part is a sum of Gaussians, and Poisson's summation of a Gaussian along the periodic directions is again one,
whatever their number. In three directions this is Williams' sum [Acta Cryst. A 27, 452 (1971)].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eqff.data.cells import volumes
from eqff.data.graph import AtomicGraph
from eqff.longrange.ewald import half_space
from eqff.longrange.lattice import Lattice
from eqff.longrange.padding import Padding
from eqff.longrange.tuning import Splitting

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(32)
"""Of the integral over s: 32 leave 1e-13 of it, at every distance and wave vector."""


def near_part(lengths: Tensor, alpha: Tensor) -> Tensor:
    """exp(-x²) (1 + x² + x⁴/2) with x = alpha r: the share of 1/r⁶ that neighbours are summed with.

    Args:
        lengths: r in Å, (E,).
        alpha: 1/Å, (E,); zero for pairs whose whole 1/r⁶ is summed.
    """
    x = (alpha * lengths).square()
    return torch.exp(-x) * (1 + x + 0.5 * x.square())


@dataclass(frozen=True)
class SmoothSum:
    """The rest of 1/r⁶ between the atoms of P periodic structures, all images and an atom's own included.

    Attributes:
        padding: Their atoms.
        matrix: 1/Å⁶, (P, n, n).
        alpha: 1/Å.
    """

    padding: Padding
    matrix: Tensor
    alpha: float

    @classmethod
    def of(cls, graph: AtomicGraph, structures: Tensor, splitting: Splitting) -> SmoothSum:
        """For ``structures`` (P,) of a batch that have a periodic direction. Memory grows as n² times 32."""
        waves = _Waves.of(graph, structures, splitting)
        cosine, sine, amplitudes = waves.cosine[:, None], waves.sine[:, None], waves.amplitudes
        if waves.across is None:
            amplitudes = amplitudes.sum(dim=1, keepdim=True)
        each = (cosine * amplitudes[:, :, None]) @ cosine.transpose(2, 3)
        each = each + (sine * amplitudes[:, :, None]) @ sine.transpose(2, 3)
        matrix = (each if waves.across is None else each * waves.across).sum(dim=1)
        return cls(waves.padding, matrix, splitting.alpha)

    @property
    def own(self) -> float:
        """What an atom has with itself at no distance, which is no interaction, 1/Å⁶."""
        return self.alpha**6 / 6


def smooth_rows(graph: AtomicGraph, splitting: Splitting, roots: Tensor) -> Tensor:
    """sum_j c_i c_j S_ij, (N,), for the rest S of 1/r⁶ in periodic structures, all images but no atom with itself.

    As c_i c_j is a product, in three periodic directions no matrix is made: sums over atoms for each wave vector.

    Args:
        graph: The batch.
        splitting: Of lattice sums.
        roots: c, float64, (N,).
    """
    energy = torch.zeros_like(roots)
    filled = graph.pbc.all(dim=1)
    crystals = filled.nonzero()[:, 0]
    others = (graph.pbc.any(dim=1) & ~filled).nonzero()[:, 0]
    if len(crystals):
        waves = _Waves.of(graph, crystals, splitting)
        own = waves.padding.gather(roots)[:, None, :]
        amplitudes = waves.amplitudes.sum(dim=1)[:, :, None]
        potential = [part @ (amplitudes * (own @ part).transpose(1, 2)) for part in (waves.cosine, waves.sine)]
        energy = energy + waves.padding.scatter(own[:, 0] * sum(potential)[:, :, 0])
    if len(others):
        smooth = SmoothSum.of(graph, others, splitting)
        own = smooth.padding.gather(roots)
        energy = energy + smooth.padding.scatter(own * (smooth.matrix @ own[:, :, None])[:, :, 0])
    periodic = graph.pbc.any(dim=1)[graph.batch]
    return energy - torch.where(periodic, roots.square() * (splitting.alpha**6 / 6), 0.0)


@dataclass(frozen=True)
class _Waves:
    """What both ways of summing need.

    Attributes:
        padding: The structures' atoms.
        cosine: cos(k·r), (P, n, K).
        sine: (P, n, K).
        amplitudes: Of each Gaussian and wave vector, 1/Å⁶, (P, 32, K).
        across: What each Gaussian has left across the periodic directions, (P, 32, n, n); None where all are periodic.
    """

    padding: Padding
    cosine: Tensor
    sine: Tensor
    amplitudes: Tensor
    across: Tensor | None

    @classmethod
    def of(cls, graph: AtomicGraph, structures: Tensor, splitting: Splitting) -> _Waves:
        """See `SmoothSum.of`."""
        padding = Padding.of(structures, graph.batch, graph.num_structures)
        positions = padding.gather(graph.positions.to(torch.float64))
        cell, pbc = graph.cell[structures].to(torch.float64), graph.pbc[structures]
        lattice = Lattice.of(cell, pbc, positions, padding.mask, splitting.cutoff)
        nodes = torch.as_tensor(0.5 * (1 + _NODES), device=cell.device)
        weights = torch.as_tensor(0.5 * _WEIGHTS, device=cell.device)
        cosine, sine, squared, taken = _waves(lattice, positions, splitting)
        dimensions = pbc.sum(dim=1)
        widths = splitting.alpha * nodes  # of each Gaussian, 1/Å
        spread = (torch.pi**0.5 / widths)[None, :] ** dimensions[:, None] / _volume(lattice)[:, None]
        share = spread * weights * nodes**5 * splitting.alpha**6
        amplitudes = share[:, :, None] * torch.exp(-squared[:, None, :] / (4 * widths[:, None].square()))
        across = None
        if not bool((dimensions == 3).all()):
            across = torch.exp(-widths[:, None, None].square() * _across(lattice, positions)[:, None])
        return cls(padding, cosine, sine, amplitudes * taken[:, None, :], across)


def _waves(lattice: Lattice, positions: Tensor, splitting: Splitting) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """cos and sin of k·r (P, n, K), k² (P, K), and the number of wave vectors that each stands for (P, K)."""
    with torch.no_grad():
        box = _unit_across(lattice)
        integers, within = half_space(box, splitting.wave_cutoff)
        within = within & ~((integers != 0) & ~lattice.pbc[:, None, :]).any(dim=-1)
        pairs = torch.where(integers.eq(0).all(dim=-1), 1.0, 2.0).to(box.dtype)
    waves = lattice.wave_vectors(integers)
    phase = positions @ waves.transpose(1, 2)
    return torch.cos(phase), torch.sin(phase), waves.square().sum(dim=-1), within * pairs


def _unit_across(lattice: Lattice) -> Tensor:
    """Lattice vectors, and unit vectors in open directions, Å, (P, 3, 3)."""
    return torch.where(lattice.pbc[:, :, None], lattice.cell, lattice.cell / (2 * lattice.radius)[:, None, None])


def _volume(lattice: Lattice) -> Tensor:
    """Length, area or volume that the periodic directions span, Å^d, (P,)."""
    return volumes(_unit_across(lattice))


def _across(lattice: Lattice, positions: Tensor) -> Tensor:
    """Squared distance of two atoms across the periodic directions, Å², (P, n, n)."""
    normals = torch.where(lattice.pbc[:, :, None], 0.0, _unit_across(lattice))
    heights = positions @ normals.transpose(1, 2)
    return (heights[:, :, None] - heights[:, None, :]).square().sum(dim=-1)
