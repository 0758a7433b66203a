"""The projection onto totals: exact for any weights, nearest point for given ones, differentiable."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eqff.nn.projection import project_to_total

FLOATS = st.floats(-5, 5, width=32)
BATCH = torch.tensor([0, 0, 0, 1, 2, 2])
TOTALS = torch.tensor([1.0, -2.0, 0.0], dtype=torch.float64)


def totals_of(values):
    return torch.zeros(3, *values.shape[1:], dtype=torch.float64).index_add(0, BATCH, values.to(torch.float64))


@given(
    st.lists(FLOATS, min_size=6, max_size=6),
    st.lists(st.one_of(st.just(0.0), st.floats(1e-300, 1e300)), min_size=6, max_size=6),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_totals_hold_for_any_weights(values, weights, dtype):
    values = torch.tensor(values, dtype=dtype)
    projected = project_to_total(values, TOTALS, BATCH, torch.tensor(weights, dtype=torch.float64))
    assert projected.dtype == dtype
    assert float((totals_of(projected) - TOTALS).abs().max()) < 200 * torch.finfo(dtype).eps


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e-300, 5e-324])
def test_shares_depend_only_on_the_ratio_of_weights(scale):
    """Vanishing weights share out as any others do, down to the smallest number there is."""
    weights = torch.tensor([1.0, 1.0, 2.0, 1.0, 3.0, 1.0], dtype=torch.float64) * scale
    projected = project_to_total(torch.zeros(6, dtype=torch.float64), TOTALS, BATCH, weights)
    torch.testing.assert_close(projected[:3], torch.tensor([0.25, 0.25, 0.5], dtype=torch.float64))


def test_no_weight_at_all_is_an_equal_share():
    projected = project_to_total(torch.zeros(6), TOTALS, BATCH, torch.zeros(6))
    torch.testing.assert_close(projected, torch.tensor([1 / 3, 1 / 3, 1 / 3, -2.0, 0.0, 0.0]))


def test_zero_weight_keeps_its_value():
    values, weights = torch.arange(6.0), torch.tensor([0.0, 1, 1, 1, 0, 1])
    projected = project_to_total(values, TOTALS, BATCH, weights)
    assert projected[0] == values[0] and projected[4] == values[4]


def test_is_the_nearest_point_under_the_constraint():
    """The stationary point of sum (q - q0)²/w with sum q = Q: (q - q0)/w is the same on all atoms of a structure."""
    rng = torch.Generator().manual_seed(0)
    values, weights = torch.randn(6, generator=rng).double(), torch.rand(6, generator=rng).double() + 0.1
    pull = (project_to_total(values, TOTALS, BATCH, weights) - values) / weights
    torch.testing.assert_close(pull[:3], pull[:1].expand(3), rtol=1e-12, atol=0)
    torch.testing.assert_close(pull[4:], pull[4:5].expand(2), rtol=1e-12, atol=0)


def test_channels_have_totals_of_their_own():
    """Two spin channels at once equal each alone."""
    rng = torch.Generator().manual_seed(1)
    values, weights = torch.randn(6, 2, generator=rng), torch.rand(6, 2, generator=rng)
    totals = torch.tensor([[0.5, -0.5], [1.0, 2.0], [0.0, 1.0]])
    both = project_to_total(values, totals, BATCH, weights)
    for channel in range(2):
        alone = project_to_total(values[:, channel], totals[:, channel], BATCH, weights[:, channel])
        assert torch.equal(both[:, channel], alone)


def test_second_derivatives():
    values, weights = torch.randn(6, dtype=torch.float64), torch.rand(6, dtype=torch.float64) + 0.1
    inputs = (values.requires_grad_(), TOTALS.clone().requires_grad_(), weights.requires_grad_())

    def project(values, totals, weights):
        return project_to_total(values, totals, BATCH, weights)

    assert torch.autograd.gradcheck(project, inputs)
    assert torch.autograd.gradgradcheck(project, inputs)
