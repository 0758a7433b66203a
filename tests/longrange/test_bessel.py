"""Bessel functions against SciPy, and their derivatives against differences."""

import pytest
import scipy.special
import torch

from eqff.longrange.bessel import bessel_k0, bessel_k1, constant_bessel

POINTS = torch.linspace(0.05, 12.0, 40, dtype=torch.float64)


@pytest.mark.parametrize("order", [0, 1])
def test_values_and_derivatives(order):
    function = (bessel_k0, bessel_k1)[order]
    exact = (scipy.special.k0, scipy.special.k1)[order](POINTS.numpy())
    # PyTorch's own approximation is good to 1e-8
    torch.testing.assert_close(function(POINTS), torch.as_tensor(exact), rtol=1e-7, atol=0)
    some = torch.tensor([0.3, 1.0, 1.9, 2.1, 5.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, some)
    assert torch.autograd.gradgradcheck(function, some)


def test_constants_carry_no_derivative():
    x = POINTS.clone().requires_grad_()
    first, second = constant_bessel(x)
    assert not first.requires_grad and not second.requires_grad
    torch.testing.assert_close(first, torch.as_tensor(scipy.special.j0(POINTS.numpy())), rtol=0, atol=1e-15)
    torch.testing.assert_close(second, torch.as_tensor(scipy.special.j1(POINTS.numpy())), rtol=0, atol=1e-15)
