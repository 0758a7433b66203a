"""The sum over segments, whoever does it."""

import pytest
import torch

from eqff.errors import ConfigError
from eqff.nn.reduce import BACKENDS, chosen_backend, segment_sum


def backend(name):
    if name == "torch_scatter":
        pytest.importorskip("torch_scatter", reason="torch-scatter is optional; `make scatter` builds it")
    return chosen_backend(name)


@pytest.mark.parametrize("name", BACKENDS)
def test_sums_rows_by_index(name):
    generator = torch.Generator().manual_seed(3)
    values = torch.randn(200, 3, 4, generator=generator, dtype=torch.float64)
    index = torch.randint(9, (200,), generator=generator).sort().values
    one_hot = torch.nn.functional.one_hot(index, 11).to(values.dtype)  # segments 9 and 10 stay empty
    expected = torch.einsum("ms,mab->sab", one_hot, values)
    torch.testing.assert_close(backend(name)(values, index, 11), expected)


@pytest.mark.parametrize("name", BACKENDS)
def test_second_derivatives(name):
    index = torch.tensor([0, 0, 2])
    values = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: backend(name)(x**3, index, 3).sin(), values)


def test_default_is_pytorch_itself():
    assert segment_sum(torch.ones(3), torch.tensor([0, 0, 1]), 3).tolist() == [2.0, 1.0, 0.0]


def test_unknown_backend_is_named():
    with pytest.raises(ConfigError, match="scater"):
        chosen_backend("scater")
