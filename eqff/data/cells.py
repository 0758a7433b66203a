"""Cells of lattice vectors, and what they do to geometries."""

import torch
from torch import Tensor


def volumes(cells: Tensor) -> Tensor:
    """Volumes that three vectors span, from (B, 3, 3) in Å; Å³, (B,).

    Not PyTorch's determinant: its second derivative goes through singular values within torch.func and captured steps,
    and has none where vectors are equally long and at right angles.
    """
    first, second, third = cells.unbind(dim=1)
    return (torch.linalg.cross(first, second) * third).sum(dim=1).abs()


def exactly_transformed(rows: Tensor, matrices: Tensor) -> Tensor:
    """Rows (..., 3) times matrices (..., 3, 3), as sums: a matrix product would have its factors rounded by TF32."""
    along = [rows[..., k, None] * matrices[..., k, :] for k in range(3)]
    return along[0] + along[1] + along[2]
