"""Newton's steps towards the populations of least energy, and the inverse of the second derivatives once there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.errors import ModelError
from eqff.longrange.conjugate_gradient import ConjugateGradient
from eqff.longrange.convergence import Failure
from eqff.longrange.populations.energy import PopulationEnergy
from eqff.longrange.populations.totals import Totals
from eqff.nn.reduce import segment_sum

WHAT = "The energy of the populations"

Inverse = Callable[[Tensor], Tensor]
"""From right-hand sides (N, C) to steps (N, C) that keep the totals."""

FLAT = 1e-3
"""Of the mean second derivative: where the energy bends less than this, steps are taken as if it bent so much."""


class Steps(ABC):
    """Of all structures of a batch at once, under their totals. Nothing here carries derivatives."""

    @abstractmethod
    def downhill(self, x: Tensor, slope: Tensor) -> Tensor:
        """A step (N, C) from x along which the energy falls, Newton's where it bends upwards; ``slope`` is centred."""

    @abstractmethod
    def inverse(self, x: Tensor) -> Inverse:
        """Of the second derivatives at x, on what keeps the totals.

        Raises:
            ModelError: They are not positive: x is no minimum.
        """


class DenseSteps(Steps):
    """By factorisation of the second derivatives.

    Args:
        energy: Of the batch.
        totals: That are kept.
    """

    def __init__(self, energy: PopulationEnergy, totals: Totals):
        self.energy = energy
        self.coulomb, self.padding = energy.coulomb.matrix()
        self.sums = energy.neighbours.matrices(self.padding, energy.batch)
        free = self.padding.mask[:, :, None] & totals.free[:, None]
        self.projector = _projector(free.to(torch.float64))

    def downhill(self, x: Tensor, slope: Tensor) -> Tensor:
        """See `Steps.downhill`; where the energy bends downwards, by absolute second derivatives."""
        matrix, scale = self._projected(x)
        factor, failed = torch.linalg.cholesky_ex(matrix)
        step = self._solved(factor, -slope)
        if bool(failed.any()):
            bends, ways = torch.linalg.eigh(matrix)
            bends = torch.maximum(bends.abs(), FLAT * scale[:, None])
            right = self.padding.gather(-slope).flatten(1)[:, :, None]
            other = self._scattered(ways @ ((ways.transpose(1, 2) @ right) / bends[:, :, None]), x)
            step = torch.where((failed > 0)[self.energy.batch][:, None], other, step)
        return step

    def inverse(self, x: Tensor) -> Inverse:
        """See `Steps.inverse`."""
        matrix, _ = self._projected(x)
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if bool(failed.any()):
            worst = int(failed.nonzero()[0])
            raise ModelError(
                f"{WHAT} of structure {worst} of the batch is stationary where it is no minimum: an eigenvalue of its "
                f"second derivatives is {float(torch.linalg.eigvalsh(matrix[worst])[0]):.4g} eV/e². Symmetry that the "
                "populations would break can be the reason. Use network=convex, which has one minimum, or a larger "
                "hardness."
            )
        return lambda right: self._solved(factor, right)

    def matrix(self, x: Tensor) -> Tensor:
        """Second derivatives at x (N, C) of every structure, (B, n C, n C), kinds counted last; 0 in empty places."""
        count, size = self.padding.index.shape
        kinds, parts = x.shape[1], self.sums.shape[1]
        curvature = self.padding.gather(self.energy.site.curvature(self.energy.neighbours.inputs(x)))
        curvature = curvature.reshape(count, size, kinds, parts, kinds, parts)
        half = torch.einsum("bacsdt,btaj->bsacjd", curvature, self.sums)
        matrix = torch.einsum("bsai,bsacjd->bicjd", self.sums, half)
        matrix[:, :, 0, :, 0] += self.coulomb
        matrix = matrix.reshape(count, size * kinds, size * kinds)
        return matrix + torch.diag_embed(self.padding.gather(self.energy.hardness).flatten(1))

    def _projected(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Second derivatives where totals are kept and a multiple of 1 elsewhere, and that multiple, (B,)."""
        matrix = self.matrix(x)
        taken = self.projector.diagonal(dim1=1, dim2=2) > 0
        scale = (matrix.diagonal(dim1=1, dim2=2).abs() * taken).sum(dim=1) / taken.sum(dim=1).clamp(min=1)
        scale = scale.clamp(min=1e-6)
        eye = torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
        kept = self.projector @ matrix @ self.projector
        return kept + scale[:, None, None] * (eye - self.projector), scale

    def _solved(self, factor: Tensor, right: Tensor) -> Tensor:
        table = self.projector @ self.padding.gather(right).flatten(1)[:, :, None]
        return self._scattered(torch.cholesky_solve(table, factor), right)

    def _scattered(self, table: Tensor, like: Tensor) -> Tensor:
        kept = (self.projector @ table)[:, :, 0]
        return self.padding.scatter(kept.reshape(*self.padding.index.shape, like.shape[1]))


@dataclass(frozen=True)
class IterativeSteps(Steps):
    """By conjugate gradients, for structures whose second derivatives don't fit into memory.

    Attributes:
        energy: Of the batch.
        totals: That are kept.
        tolerance: Relative residual.
        max_iterations: After which they have failed.
        failed: What is done then.
    """

    energy: PopulationEnergy
    totals: Totals
    tolerance: float
    max_iterations: int
    failed: Failure

    def downhill(self, x: Tensor, slope: Tensor) -> Tensor:
        """See `Steps.downhill`.

        Raises:
            ModelError: The energy bends downwards somewhere, or the iterations did not converge.
        """
        return self.inverse(x)(-slope)

    def inverse(self, x: Tensor) -> Inverse:
        """See `Steps.inverse`; looked at in the directions that iterations meet."""
        multiply, kinds = self.energy.product(x), x.shape[1]
        solver = ConjugateGradient(
            self.energy.batch.repeat_interleave(kinds),
            self.energy.num_structures,
            torch.ones_like(x).flatten(),  # leaves what is centred kind by kind so
            self.tolerance,
            self.max_iterations,
            WHAT,
            self.failed,
        )

        def product(values: Tensor) -> Tensor:
            kept = self.totals.centred(values.reshape(-1, kinds))
            return self.totals.centred(multiply(kept)).flatten()

        def solved(right: Tensor) -> Tensor:
            found, _ = solver.solve(self._kept(right).flatten(), product)
            return self.totals.centred(found.reshape(-1, kinds))

        return solved

    def _kept(self, right: Tensor) -> Tensor:
        """``right`` (N, C) centred; zero in structures where that leaves nothing but rounding, or less."""
        kept = self.totals.centred(self.totals.centred(right))  # of what is nearly constant, rounding leaves a mean
        whole, left = (
            segment_sum(values.square().sum(dim=1), self.energy.batch, self.energy.num_structures).sqrt()
            for values in (right, kept)
        )
        return kept * (left > self.tolerance * whole)[self.energy.batch][:, None]


def _projector(free: Tensor) -> Tensor:
    """What takes out the mean of each kind, (B, n C, n C), where ``free`` (B, n, C) is 1 for what may move."""
    kinds = torch.arange(free.shape[2], device=free.device).repeat(free.shape[1])
    same = (kinds[:, None] == kinds).to(free.dtype)
    counts = free.sum(dim=1, keepdim=True).clamp(min=1.0).expand_as(free).flatten(1)
    flat = free.flatten(1)
    return torch.diag_embed(flat) - same * flat[:, :, None] * flat[:, None, :] / counts[:, :, None]
