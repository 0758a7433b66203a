"""Operations written as others give the same."""

import pytest
import torch

from eqff.compilation.rewrites import rewrites
from eqff.kernels.linear import each_degree_map, each_degree_outer


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_maps_and_sums_of_outer_products(degree):
    torch.manual_seed(0)
    table, components = rewrites(torch.empty(0, device="meta")), (degree + 1) ** 2
    left, right = torch.randn(components, 5, 3).double(), torch.randn(components, 5, 4).double()
    outer = table[torch.ops.eqff.each_degree_outer.default](left, right)
    torch.testing.assert_close(outer, each_degree_outer(left, right))
    matrices = torch.randn(degree + 1, 4, 3).double().transpose(1, 2)
    mapped = table[torch.ops.eqff.each_degree_map.default](left, matrices)
    torch.testing.assert_close(mapped, each_degree_map(left, matrices))
