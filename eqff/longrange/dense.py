"""Constrained minima by batched factorisation: for structures whose matrices fit into memory."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.errors import ModelError
from eqff.longrange.conjugate_gradient import RUNAWAY, require_finite
from eqff.longrange.padding import Padding


def minimize_dense(matrix: Tensor, linear: Tensor, totals: Tensor, padding: Padding, what: str) -> Tensor:
    """The x with least x·M·x / 2 + c·x under sum x = X, for each structure, by Cholesky factorisation.

    Only displacements that keep the sum matter, so M need not be positive definite as a whole. Differentiable to any
    order.

    Args:
        matrix: M, symmetric, (B, n, n), zero in empty places.
        linear: c, (N,).
        totals: X, (B,).
        padding: Where the atoms stand in the matrix.
        what: Name of M, for the message.

    Returns:
        (N,).

    Raises:
        ModelError: M is not positive definite where it has to be, so that there is no minimum.
    """
    require_finite(linear, padding.batch, what)
    mask = padding.mask.to(matrix.dtype)
    counts = mask.sum(dim=1, keepdim=True).clamp(min=1.0)
    start = totals[:, None] / counts * mask
    right = -padding.gather(linear) - (matrix @ start[..., None])[..., 0]
    projector = torch.diag_embed(mask) - mask[:, :, None] * mask[:, None, :] / counts[..., None]
    # what the projection takes out is put back as the mean of the diagonal, which keeps the condition number
    scale = (matrix.diagonal(dim1=1, dim2=2).detach().abs().sum(dim=1) / counts[:, 0]).clamp(min=1e-6)
    eye = torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
    projected = projector @ matrix @ projector + scale[:, None, None] * (eye - projector)
    factor, failed = torch.linalg.cholesky_ex(projected)
    if bool(failed.any()):
        raise ModelError(_indefinite(projected.detach(), failed, what))
    step = torch.cholesky_solve((projector @ right[..., None]), factor)[..., 0]
    return padding.scatter(start + step)


def _indefinite(projected: Tensor, failed: Tensor, what: str) -> str:
    worst = int(failed.nonzero()[0])
    lowest = float(torch.linalg.eigvalsh(projected[worst])[0])
    return (
        f"{what} of structure {worst} of the batch has no minimum: its lowest eigenvalue under the constraint is "
        f"{lowest:.4g} eV/e². {RUNAWAY}"
    )
