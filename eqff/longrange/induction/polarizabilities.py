"""Atomic polarizabilities as a map from fields to dipoles: mu = alpha E / k_e."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.errors import ModelError
from eqff.units import COULOMB_CONSTANT

_ROUNDING = 1e-5  # of float32 weights, relative to the trace


def respond(polarizabilities: Tensor, field: Tensor) -> Tensor:
    """Dipoles in e·Å, (N, 3), that tensors alpha in Å³, (N, 3, 3), have in fields in V/Å, (N, 3)."""
    # as many matrix products of 3 by 3 this would take several times as long
    return (polarizabilities * field[:, None, :]).sum(dim=2) / COULOMB_CONSTANT


def require_positive(polarizabilities: Tensor, batch: Tensor) -> None:
    """Refuses tensors (N, 3, 3) that are not symmetric, or that answer some field with a dipole against it.

    Zero is allowed: such an atom has no induced dipole.

    Raises:
        ModelError: Names the atom and its structure.
    """
    alpha = polarizabilities.detach()
    size = alpha.diagonal(dim1=1, dim2=2).sum(dim=1)
    limit = _ROUNDING * size.abs()
    # a matrix is positive semidefinite if and only if all of its principal minors are not negative
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (row.unbind(1) for row in alpha.unbind(1))
    lowest = torch.stack([xx, yy, zz]).amin(dim=0)
    minors = torch.stack([xx * yy - xy * yx, xx * zz - xz * zx, yy * zz - yz * zy]).amin(dim=0)
    determinant = xx * (yy * zz - yz * zy) - xy * (yx * zz - yz * zx) + xz * (yx * zy - yy * zx)
    positive = (lowest >= -limit) & (minors >= -limit * size) & (determinant >= -limit * size.square())
    symmetric = (alpha - alpha.transpose(1, 2)).abs().amax(dim=(1, 2)) <= limit
    bad = ~(positive & symmetric)  # NaN is neither
    if bool(bad.any()):
        atom = int(bad.nonzero()[0, 0])
        values = ", ".join(f"{value:.4g}" for value in alpha[atom].flatten().tolist())
        raise ModelError(
            f"The polarizability of atom {atom} of the batch (structure {int(batch[atom])}) is no symmetric positive "
            f"tensor: [{values}] Å³ (row by row). Correct what predicts or tabulates it."
        )
