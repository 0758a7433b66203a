"""Rounded matrix products are those of TF32 and bfloat16, and nothing else is rounded."""

import importlib.util
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="module")
def tool():
    path = Path(__file__).parents[2] / "tools" / "matmul_precision.py"
    spec = importlib.util.spec_from_file_location("matmul_precision", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_seven_bits_are_bfloat16(tool):
    values = torch.cat([torch.randn(1000) * 10.0**p for p in range(-20, 21, 10)] + [torch.zeros(1)])
    assert torch.equal(tool.rounded(values, 7), values.to(torch.bfloat16).float())


def test_ten_bits_are_half_precision_in_its_range(tool):
    values = torch.rand(1000) + 1.0
    assert torch.equal(tool.rounded(values, 10), values.half().float())


@pytest.mark.parametrize("product", ["mm", "bmm", "addmm", "linear"])
def test_operands_are_rounded_and_what_is_added_is_not(tool, product):
    a, b, c = torch.randn(4, 3), torch.randn(3, 5), torch.randn(5)
    ra, rb = a.bfloat16().float(), b.bfloat16().float()
    with tool.RoundedProducts(7):
        found = {
            "mm": lambda: a @ b,
            "bmm": lambda: torch.bmm(a[None], b[None])[0],
            "addmm": lambda: torch.addmm(c, a, b),
            "linear": lambda: torch.nn.functional.linear(a, b.T, c),
        }[product]()
    bias = c if product in ("addmm", "linear") else 0.0
    assert torch.allclose(found, ra @ rb + bias, rtol=1e-6, atol=1e-6)


def test_derivatives_are_rounded_too_and_float64_is_left_alone(tool):
    a, b = torch.randn(4, 3), torch.randn(3, 5, requires_grad=True)
    with tool.RoundedProducts(7):
        (a @ b).square().sum().backward()
        double = a.double() @ b.double()
    exact = 2 * a.T @ (a @ b.detach())
    relative = (b.grad - exact).norm() / exact.norm()
    assert 1e-4 < relative < 2e-2
    assert torch.equal(double, a.double() @ b.double())
