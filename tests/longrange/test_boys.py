"""The Boys function against SciPy, and its derivatives against differences."""

import math

import pytest
import scipy.special
import torch

from eqff.longrange.boys import boys

POINTS = torch.cat([torch.linspace(0.0, 3.0, 31), torch.tensor([0.999999, 1.000001, 10.0, 100.0, 1e4])]).double()


@pytest.mark.parametrize("order", range(5))
def test_values_and_derivatives(order):
    x = POINTS[1:]  # SciPy's formula is 0/0 at zero
    exact = scipy.special.gammainc(order + 0.5, x.numpy()) * math.gamma(order + 0.5) / (2 * x.numpy() ** (order + 0.5))
    # the recursion loses one digit where it begins
    torch.testing.assert_close(boys(x, order), torch.as_tensor(exact), rtol=1e-13, atol=0)
    assert float(boys(POINTS[:1], order)) == pytest.approx(1 / (2 * order + 1), rel=1e-15)
    some = torch.tensor([0.0, 0.3, 0.99, 1.01, 4.0], dtype=torch.float64).add(1e-5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: boys(x, order), some)
    assert torch.autograd.gradgradcheck(lambda x: boys(x, order), some)
