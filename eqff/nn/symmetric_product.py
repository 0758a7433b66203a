"""Many-body products of one function on the sphere with itself, weighed by element, degree and channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eqff.kernels.choice import fused
from eqff.kernels.product_plans import SymmetricPlan
from eqff.kernels.products import products, takes
from eqff.nn.linear import DegreeLinear
from eqff.nn.many_body import GridProduct, product_plan
from eqff.nn.species import species_rows
from eqff.nn.spherical import degree_of_components


class SymmetricProduct(GridProduct):
    """Σ_ν w_νl(z) · P^ν(u) of a linear image u of the atomic basis A: u, u·u and u·u·u, mixed by a linear map after it.

    MACE's symmetric contraction [NeurIPS 2022] with products taken pointwise on the sphere. Matrix products are a third
    of those of `eqff.nn.many_body.ManyBodyProduct`, whose factors are different images of A.

    Args:
        degree_in: Highest degree of A.
        degree_out: Highest degree of the result.
        channels: C.
        order: 1, 2 or 3 factors at most.
        num_species: Elements of the model; each weighs powers, degrees and channels in its own way.
    """

    def __init__(self, degree_in: int, degree_out: int, channels: int, order: int, num_species: int):
        super().__init__(degree_in, degree_out, channels, order)
        self.factor = DegreeLinear(degree_in, channels, channels)
        self.species_weight = nn.Parameter(1.0 + 0.5 * torch.randn(num_species, order * (degree_out + 1) * channels))
        self.out = DegreeLinear(degree_out, channels, channels)
        self.register_buffer("degree", degree_of_components(degree_out), persistent=False)

    def forward(self, atomic_basis: Tensor, species: Tensor) -> Tensor:
        """From A (N, (degree_in + 1)², C) and species indices (N,) to (N, (degree_out + 1)², C)."""
        factor, scale = self.factor(atomic_basis).transpose(0, 1), species_rows(self.species_weight, species)
        if self.order > 1 and fused(atomic_basis):
            plan = product_plan(*self.degrees, self.order, atomic_basis.dtype, SymmetricPlan)
            if takes(plan, atomic_basis):
                return self.out(products(factor, scale, plan).transpose(0, 1))
        return self.out(self._on_grid(factor, scale))

    def _on_grid(self, factor: Tensor, scale: Tensor) -> Tensor:
        """From u ((degree_in + 1)², N, C) to the sum of its weighed powers, (N, (degree_out + 1)², C)."""
        each = scale.view(scale.shape[0], self.order, self.degrees[1] + 1, self.channels)
        weights = each[:, :, self.degree].unbind(dim=1)
        result = factor[: self.components_out].transpose(0, 1) * weights[0]
        if self.order == 1:
            return result
        values = self.to_grid @ factor.flatten(1)
        powers = [values * values]
        if self.order == 3:
            powers.append(powers[0] * values)
        projected = (self.from_grid @ torch.cat(powers, dim=1)).view(
            self.components_out, self.order - 1, -1, self.channels
        )
        for weight, power in zip(weights[1:], projected.unbind(dim=1), strict=True):
            result = result + weight * power.transpose(0, 1)
        return result
