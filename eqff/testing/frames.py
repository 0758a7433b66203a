"""How fields turn with the frame: random rotations and reflections, applied by a field's row in the table."""

from __future__ import annotations

import numpy as np
import torch
from e3nn import o3
from torch import Tensor

from eqff.data.fields import Field


def random_orthogonal(seed: int, *, reflect: bool = False) -> np.ndarray:
    """A random rotation, (3, 3), or with ``reflect`` one followed by an inversion."""
    from scipy.stats import special_ortho_group

    matrix = special_ortho_group.rvs(3, random_state=seed)
    return -matrix if reflect else matrix


def turn_field(value: Tensor, field: Field, matrix: np.ndarray) -> Tensor:
    """What a field's value becomes when the frame is turned.

    Args:
        value: (..., *field.shape).
        field: Its row; Cartesian where every trailing dimension is 3, else in e3nn's spherical components.
        matrix: Orthogonal, (3, 3).
    """
    irreps = o3.Irreps(field.irreps)
    turn = torch.as_tensor(matrix, dtype=value.dtype)
    shape = field.shape or ()
    if irreps.lmax == 0 or all(size == 3 for size in shape):
        rank = 0 if irreps.lmax == 0 else len(shape)
        for axis in range(value.dim() - rank, value.dim()):
            value = torch.movedim(torch.tensordot(value, turn, dims=([axis], [1])), -1, axis)
        # a Cartesian tensor of rank n has parity (-1)^n; a pseudotensor the opposite one
        pseudo = irreps[0].ir.p != (-1) ** rank
        return value * torch.det(turn) if pseudo else value
    blocks = [turn_matrix(ir.l, matrix, ir.p) for multiplicity, ir in irreps for _ in range(multiplicity)]
    return value @ torch.block_diag(*blocks).to(value.dtype).T


def turn_features(features: Tensor, matrix: np.ndarray) -> Tensor:
    """Spherical features (N, (degree + 1)², channels), parity (-1)^l, in a turned frame."""
    degree = round(features.shape[1] ** 0.5) - 1
    turn = torch.block_diag(*(turn_matrix(l, matrix, (-1) ** l) for l in range(degree + 1)))
    return torch.einsum("mn,inc->imc", turn.to(features.dtype), features)


def turn_matrix(degree: int, matrix: np.ndarray, parity: int) -> Tensor:
    """How the 2l + 1 components of degree l turn, in e3nn's order, float64.

    Solved from e3nn's spherical harmonics at points before and after, exact to 1e-15 whatever torch's default dtype
    is; the matrices that e3nn makes from Euler angles are good to 1e-6 only while that is float32.
    """
    points = torch.randn(4 * degree + 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turned = points @ torch.as_tensor(matrix).T
    before, after = (o3.spherical_harmonics(degree, x, True, "component") for x in (points, turned))
    natural = torch.linalg.lstsq(before, after).solution.T
    # harmonics have parity (-1)^l: under a reflection the other kind has the other sign
    return natural * float(np.sign(np.linalg.det(matrix))) if parity != (-1) ** degree else natural
