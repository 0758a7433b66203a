"""Spherical tensors in e3nn's conventions: components of degree l = 0, 1, ..., L in one axis, channels last.

Degree l has parity (-1)^l throughout ("natural parity"), so only products with l1 + l2 + l3 even exist here.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from e3nn import o3
from torch import Tensor, nn

from eqff.kernels.capture import with_numbers


def num_components(degree: int) -> int:
    """(L + 1)², the number of components up to a degree."""
    return (degree + 1) ** 2


def components(degree: int) -> slice:
    """Where the 2l + 1 components of one degree stand."""
    return slice(degree**2, (degree + 1) ** 2)


def degree_of_components(degree: int) -> Tensor:
    """The degree l of each component up to L, ((L + 1)²,) int64."""
    return torch.tensor([l for l in range(degree + 1) for _ in range(2 * l + 1)])


def paths(degree_in1: int, degree_in2: int, degree_out: int) -> list[tuple[int, int, int]]:
    """All (l1, l2, l3) within the given degrees that obey the triangle rule and natural parity."""
    return [
        (l1, l2, l3)
        for l1 in range(degree_in1 + 1)
        for l2 in range(degree_in2 + 1)
        for l3 in range(abs(l1 - l2), min(l1 + l2, degree_out) + 1)
        if (l1 + l2 + l3) % 2 == 0
    ]


def coupling(l1: int, l2: int, l3: int) -> Tensor:
    """Wigner 3j symbols times √(2 l3 + 1), e3nn's "component" normalisation, (2 l1 + 1, 2 l2 + 1, 2 l3 + 1) float64."""
    with with_numbers():  # e3nn makes and keeps its table when it is first asked, maybe while a file is loaded
        return o3.wigner_3j(l1, l2, l3, dtype=torch.float64) * math.sqrt(2 * l3 + 1)


@cache
def _raising(degree: int) -> Tensor:
    """The matrix that makes Y_l from the outer product of Y_(l-1) and the unit vector, (3 (2l - 1), 2l + 1) float64."""
    with with_numbers():
        matrix = o3.wigner_3j(degree - 1, 1, degree, dtype=torch.float64).reshape(-1, 2 * degree + 1)
        probe = torch.tensor([[0.36, -0.48, 0.8]], dtype=torch.float64)  # any unit vector fixes the one free factor
        lower = o3.spherical_harmonics(degree - 1, probe, False, "component")
        raw = (lower[:, :, None] * probe[:, None, :]).flatten(1) @ matrix
        wanted = o3.spherical_harmonics(degree, probe, False, "component")
        return matrix * (wanted * raw).sum() / raw.square().sum()


class SphericalHarmonics(nn.Module):
    """Real spherical harmonics up to a degree, equal to e3nn's with normalization="component".

    Y_l is the degree-l part of Y_(l-1) ⊗ r̂, one small matrix product a degree: far fewer operations than written-out
    polynomials, which matters because training differentiates them twice.

    Args:
        degree: Highest degree L.
    """

    def __init__(self, degree: int):
        super().__init__()
        self.degree = degree
        for l in range(1, degree + 1):
            self.register_buffer(f"raise{l}", _raising(l).to(torch.get_default_dtype()), persistent=False)

    def forward(self, unit_vectors: Tensor) -> Tensor:
        """From unit vectors (..., 3) to (..., (L + 1)²)."""
        last = torch.ones_like(unit_vectors[..., :1])
        harmonics = [last]
        for l in range(1, self.degree + 1):
            outer = (last[..., :, None] * unit_vectors[..., None, :]).flatten(-2)
            last = outer @ getattr(self, f"raise{l}")
            harmonics.append(last)
        return torch.cat(harmonics, dim=-1)
