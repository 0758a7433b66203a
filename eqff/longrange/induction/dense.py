"""Local fields by batched factorisation: for structures whose matrices fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.errors import ModelError
from eqff.longrange.multipoles.bound import BoundMultipoles
from eqff.longrange.padding import Padding
from eqff.units import COULOMB_CONSTANT

Refusal = Callable[[Mapping[int, float]], str]


@dataclass(frozen=True)
class FactorisedInduction:
    """1 - R T R of every structure as a Cholesky factor, with R² = alpha / k_e. Without derivatives.

    Attributes:
        matrix: T, V/(e·Å²), (B, 3n, 3n).
        root: R of the atoms in their places, (B, n, 3, 3).
        factor: The Cholesky factor, (B, 3n, 3n).
        padding: Where the atoms stand.
    """

    matrix: Tensor
    root: Tensor
    factor: Tensor
    padding: Padding

    @classmethod
    def of(cls, bound: BoundMultipoles, polarizabilities: Tensor, refusal: Refusal) -> FactorisedInduction:
        """For tensors alpha in Å³, (N, 3, 3).

        Args:
            bound: The interaction of the dipoles.
            polarizabilities: alpha.
            refusal: What to say of structures without a solution, from their lowest eigenvalues.

        Raises:
            ModelError: A matrix is not positive definite.
        """
        matrix, padding = bound.matrix()
        root = padding.gather(_root(polarizabilities / COULOMB_CONSTANT))
        count, size = root.shape[:2]
        scaled = matrix
        for _ in range(2):  # Rᵀ T, then Rᵀ times its transpose T R: whole rows, as products of 3 x 3 blocks are slow
            rows = scaled.transpose(1, 2).reshape(count, size, 3, 3 * size)
            scaled = (root.transpose(2, 3) @ rows).reshape(count, 3 * size, 3 * size)
        whole = torch.eye(3 * size, dtype=matrix.dtype, device=matrix.device) - scaled
        factor, failed = torch.linalg.cholesky_ex(whole)
        if bool(failed.any()):
            bad = failed.nonzero()[:, 0].tolist()
            raise ModelError(refusal({place: float(torch.linalg.eigvalsh(whole[place])[0]) for place in bad}))
        return cls(matrix, root, factor, padding)

    def solve(self, right: Tensor) -> Tensor:
        """The local fields e = E + T mu, (N, 3), for E (N, 3)."""
        table = self.padding.gather(right)
        pushed = (self.root.transpose(2, 3) @ table[..., None]).flatten(1)[..., None]
        answer = torch.cholesky_solve(pushed, self.factor).reshape(self.root.shape[:3])
        dipoles = (self.root @ answer[..., None]).flatten(1)[..., None]
        return right + self.padding.scatter((self.matrix @ dipoles).reshape(table.shape))


def _root(tensors: Tensor) -> Tensor:
    """Symmetric square roots of symmetric positive semidefinite tensors (N, 3, 3)."""
    values, vectors = torch.linalg.eigh(tensors)
    return (vectors * values.clamp(min=0).sqrt()[:, None, :]) @ vectors.transpose(1, 2)
