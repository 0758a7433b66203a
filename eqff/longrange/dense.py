"""Constrained minima by batched factorisation: for structures whose matrices fit into memory."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.errors import ModelError
from eqff.kernels.capture import operation
from eqff.longrange.conjugate_gradient import RUNAWAY, require_finite
from eqff.longrange.padding import Padding
from eqff.longrange.solutions import solutions


def minimize_dense(
    matrix: Tensor, linear: Tensor, totals: Tensor, padding: Padding, batch: Tensor, what: str
) -> Tensor:
    """The x with least x·M·x / 2 + c·x under sum x = X, for each structure, by Cholesky factorisation.

    Only displacements that keep the sum matter, so M need not be positive definite as a whole. Differentiable to any
    order.

    Args:
        matrix: M, symmetric, (B, n, n), zero in empty places.
        linear: c, (N,).
        totals: X, (B,).
        padding: Where the atoms of all structures stand in the matrix.
        batch: Structure of each atom, (N,).
        what: Name of M, for the message.

    Returns:
        (N,).

    Raises:
        ModelError: M is not positive definite where it has to be, so that there is no minimum.
    """
    mask = padding.mask.to(matrix.dtype)
    start = totals[:, None] / _counts(mask) * mask
    right = -padding.gather(linear) - (matrix @ start[..., None])[..., 0]
    factor = constrained_factor(matrix.detach(), mask, linear.detach(), batch, what)
    step = solutions(matrix, right, lambda right, _, *given: constrained_step(right, *given), factor, mask)
    return padding.scatter(start + step)


def _counts(mask: Tensor) -> Tensor:
    return mask.sum(dim=1, keepdim=True).clamp(min=1.0)


def _factor_like(matrix: Tensor, mask: Tensor, linear: Tensor, batch: Tensor, what: str) -> Tensor:
    return matrix.new_empty(matrix.shape)


@operation("(Tensor matrix, Tensor mask, Tensor linear, Tensor batch, str what) -> Tensor", _factor_like)
def constrained_factor(matrix: Tensor, mask: Tensor, linear: Tensor, batch: Tensor, what: str) -> Tensor:
    """The Cholesky factor of M where displacements keep the sum, and of a multiple of 1 elsewhere, (B, n, n).

    Args:
        matrix: M, (B, n, n).
        mask: 1 where there is an atom, else 0, (B, n).
        linear: c, (N,), which is looked at.
        batch: Structure of each atom, (N,).
        what: Name of M, for messages.

    Raises:
        ModelError: M is not positive definite there, or c is not finite.
    """
    require_finite(linear, batch, what)
    counts = _counts(mask)
    projector = torch.diag_embed(mask) - mask[:, :, None] * mask[:, None, :] / counts[..., None]
    # what the projection takes out is put back as the mean of the diagonal, which keeps the condition number
    scale = (matrix.diagonal(dim1=1, dim2=2).abs().sum(dim=1) / counts[:, 0]).clamp(min=1e-6)
    eye = torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
    projected = projector @ matrix @ projector + scale[:, None, None] * (eye - projector)
    factor, failed = torch.linalg.cholesky_ex(projected)
    if bool(failed.any()):
        raise ModelError(_indefinite(projected, failed, what))
    return factor.contiguous()


def _step_like(right: Tensor, factor: Tensor, mask: Tensor) -> Tensor:
    return right.new_empty(right.shape)


@operation("(Tensor right, Tensor factor, Tensor mask) -> Tensor", _step_like)
def constrained_step(right: Tensor, factor: Tensor, mask: Tensor) -> Tensor:
    """x with sum x = 0 and P M x = P b, where P takes out the mean, (B, n), by `constrained_factor`."""
    centred = mask * (right - (mask * right).sum(dim=1, keepdim=True) / _counts(mask))
    return torch.cholesky_solve(centred[..., None], factor)[..., 0].contiguous()


def require_finite_matrix(matrix: Tensor, structure: int, what: str) -> None:
    """Raises ModelError if the ``matrix`` (n, n) of a structure, for the problem ``what``, isn't finite."""
    if not bool(matrix.isfinite().all()):
        raise ModelError(
            f"{what} of structure {structure} of the batch can't be solved: its matrix is not finite. What predicts "
            "hardness or widths, or the geometry, is not."
        )


def _indefinite(projected: Tensor, failed: Tensor, what: str) -> str:
    worst = int(failed.nonzero()[0])
    require_finite_matrix(projected[worst], worst, what)
    lowest = float(torch.linalg.eigvalsh(projected[worst])[0])
    return (
        f"{what} of structure {worst} of the batch has no minimum: its lowest eigenvalue under the constraint is "
        f"{lowest:.4g} eV/e². {RUNAWAY}"
    )
