"""Cells of lattice vectors."""

import torch
from torch import Tensor


def volumes(cells: Tensor) -> Tensor:
    """Volumes that three vectors span, from (B, 3, 3) in Å; Å³, (B,).

    Not PyTorch's determinant: its second derivative goes through singular values within torch.func and captured steps,
    and has none where vectors are equally long and at right angles.
    """
    first, second, third = cells.unbind(dim=1)
    return (torch.linalg.cross(first, second) * third).sum(dim=1).abs()
