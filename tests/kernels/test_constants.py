"""Numbers that captured graphs name by digest: the same ones on every machine, and no others."""

import pytest
import torch

import eqff.kernels.bilinear  # noqa: F401  (its operation)
from eqff.errors import ModelError
from eqff.kernels.capture import Constant


def test_rounding_is_no_difference():
    torch.manual_seed(0)
    table = torch.randn(9, 9, 9, dtype=torch.float64)
    table[0, 0, :3] = torch.tensor([0.5, 0.0078125, 1e-6])  # would lie half way between decimals
    assert Constant(table, 3).digest == Constant(table * (1 + 1e-15), 3).digest
    assert Constant(table, 3).digest == Constant(table * (1 - 1e-15), 3).digest


def test_all_else_is():
    table = torch.eye(4, dtype=torch.float64)
    other = table.clone()
    other[1, 2] = 1e-5
    digests = [Constant(*given).digest for given in ((table, 3), (table, 2), (other, 3), (table.view(2, 8), 3))]
    assert len(set(digests)) == 4


def test_an_unknown_one_is_told():
    with pytest.raises(ModelError, match="export the model again"):
        torch.ops.eqff.rows_bilinear("none", torch.ones(1, 1), torch.ones(1, 1), [0, 1, 2])
