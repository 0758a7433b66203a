"""Many-body products: from sums over neighbours to polynomials of them, exactly equivariant."""

from __future__ import annotations

import math
from functools import cache

import torch
from scipy.integrate import lebedev_rule
from torch import Tensor, nn

from eqff.kernels.capture import with_numbers
from eqff.kernels.choice import fused
from eqff.kernels.product_plans import MixedPlan, ProductPlan
from eqff.kernels.products import products, takes
from eqff.nn.linear import DegreeLinear
from eqff.nn.species import species_rows
from eqff.nn.spherical import SphericalHarmonics, num_components

_LEBEDEV_DEGREES = (3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)


def sphere_grid(degree_in: int, degree_out: int, order: int) -> tuple[Tensor, Tensor]:
    """Points on the sphere on which a product of ``order`` functions is projected onto degree_out without error.

    Args:
        degree_in: Highest degree of each factor.
        degree_out: Highest degree wanted of the product.
        order: Number of factors.

    Returns:
        The harmonics at the points, (G, (degree_in + 1)²), and the projection back, ((degree_out + 1)², G); float64.
    """
    needed = order * degree_in + degree_out
    rule = next(degree for degree in _LEBEDEV_DEGREES if degree >= needed)
    points, weights = (torch.from_numpy(array.copy()) for array in lebedev_rule(rule))
    previous = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        harmonics = SphericalHarmonics(max(degree_in, degree_out))(points.T)
    finally:
        torch.set_default_dtype(previous)
    back = harmonics[:, : num_components(degree_out)] * weights[:, None] / (4 * math.pi)
    return harmonics[:, : num_components(degree_in)].contiguous(), back.T.contiguous()


@cache
def product_plan(
    degree_in: int, degree_out: int, order: int, dtype: torch.dtype, kind: type[ProductPlan] = MixedPlan
) -> ProductPlan:
    """The same products by Gaunt coefficients, which are sparse: far fewer operations where a loop can be sparse too.

    The product of two factors is kept up to ``degree_in + degree_out``: more of it meets no component of the third.
    """
    with with_numbers():
        middle = degree_out if order == 2 else degree_in + degree_out
        highest = max(degree_in, middle)
        harmonics, back = sphere_grid(highest, highest, 2)
        factors = harmonics[:, : num_components(degree_in)] / (degree_in + 1)
        first = torch.einsum("kg,gi,gj->kij", back[: num_components(middle)], factors, factors) * (degree_out + 1)
        of_first = harmonics[:, : num_components(middle)]
        second = torch.einsum("kg,gi,gj->kij", back[: num_components(degree_out)], of_first, factors)
        first, second = (table.where(table.abs() > 1e-12, 0.0) for table in (first, second))
        return kind(first, second, order, dtype)


class GridProduct(nn.Module):
    """What products of functions on the sphere have in common: their sizes, and the grid on which they are pointwise.

    Args:
        degree_in: Highest degree of the factors.
        degree_out: Highest degree of the result.
        channels: C.
        order: 1, 2 or 3 factors at most.
    """

    def __init__(self, degree_in: int, degree_out: int, channels: int, order: int):
        super().__init__()
        if order not in (1, 2, 3):
            raise ValueError(f"order is {order}; many-body products of order 1, 2 and 3 exist")
        self.order, self.channels = order, channels
        self.degrees = degree_in, degree_out
        self.components_out = num_components(degree_out)
        if order > 1:
            harmonics, back = sphere_grid(degree_in, degree_out, order)
            dtype = torch.get_default_dtype()  # scaled so that values of unit size stay of unit size both ways
            self.register_buffer("to_grid", (harmonics / (degree_in + 1)).to(dtype), persistent=False)
            self.register_buffer("from_grid", (back * (degree_out + 1)).to(dtype), persistent=False)


class ManyBodyProduct(GridProduct):
    """u, u·v and u·v·w of linear images u, v, w of the atomic basis A: correlations of up to ``order`` + 1 bodies.

    [MACE, NeurIPS 2022; ACE, Phys. Rev. B 99, 014104 (2019)] with the products taken pointwise on the sphere, where a
    Lebedev rule of sufficient degree makes the result equal to tensor products with Gaunt coefficients
    [Luo, Chen & Krishnapriyan, ICLR 2024] to rounding: two matrix products instead of a list of Clebsch-Gordan paths.

    Args:
        degree_in: Highest degree of A.
        degree_out: Highest degree of the result.
        channels: C.
        order: 1, 2 or 3 factors at most.
        num_species: Elements of the model; each weighs the factors' channels in its own way.
    """

    def __init__(self, degree_in: int, degree_out: int, channels: int, order: int, num_species: int):
        super().__init__(degree_in, degree_out, channels, order)
        self.factors = DegreeLinear(degree_in, channels, channels * order)
        self.species_weight = nn.Parameter(1.0 + 0.5 * torch.randn(num_species, channels * order))
        self.out = DegreeLinear(degree_out, channels * order, channels)

    def forward(self, atomic_basis: Tensor, species: Tensor) -> Tensor:
        """From A (N, (degree_in + 1)², C) and species indices (N,) to (N, (degree_out + 1)², C)."""
        atoms, order, channels = atomic_basis.shape[0], self.order, self.channels
        if order > 1 and fused(atomic_basis):
            plan = product_plan(*self.degrees, order, atomic_basis.dtype)
            if takes(plan, atomic_basis):
                factors = self.factors(atomic_basis).transpose(0, 1)
                return self.out(products(factors, self._scale(species), plan).transpose(0, 1))
        factors = (self.factors(atomic_basis) * self.species_weight[species][:, None]).transpose(0, 1)
        first = factors[: self.components_out, :, :channels].transpose(0, 1)
        if order == 1:
            return self.out(first)
        points = self.to_grid.shape[0]
        values = (self.to_grid @ factors.reshape(factors.shape[0], -1)).view(points, atoms, order, channels)
        pointwise = [values[:, :, 0] * values[:, :, 1]]
        if order == 3:
            pointwise.append(pointwise[0] * values[:, :, 2])
        stacked = torch.cat(pointwise, dim=-1)
        projected = (self.from_grid @ stacked.view(points, -1)).view(-1, atoms, (order - 1) * channels)
        return self.out(torch.cat([first, projected.transpose(0, 1)], dim=-1))

    def _scale(self, species: Tensor) -> Tensor:
        """What the factors' weights come to in each product, (N, order · C): they are the same for all components."""
        weights = self.species_weight.view(-1, self.order, self.channels).unbind(dim=1)
        scales = [weights[0], weights[0] * weights[1]]
        if self.order == 3:
            scales.append(scales[1] * weights[2])
        return species_rows(torch.cat(scales, dim=1), species)
