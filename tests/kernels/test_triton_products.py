"""Many-body products in Triton against plain PyTorch: on a GPU, or else in Triton's interpreter."""

import logging

import pytest
import torch

pytest.importorskip("triton", reason="needs Triton: pip install triton")

from eqff.kernels import backends, choice
from eqff.kernels.backends import Backend
from eqff.kernels.product_plans import MixedPlan, SymmetricPlan
from eqff.kernels.products import products, products_first, products_second, products_value
from eqff.kernels.triton import products as in_triton
from eqff.nn.many_body import ManyBodyProduct, product_plan
from eqff.nn.symmetric_product import SymmetricProduct

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(autouse=True)
def triton_runs(monkeypatch, tmp_path):
    """On this device, whatever it is; nothing is left in the user's cache."""
    monkeypatch.setitem(backends.BACKENDS, DEVICE.type, Backend("Triton", "eqff.kernels.triton", lambda: True))
    monkeypatch.setenv("EQFF_CACHE", str(tmp_path))
    in_triton._kernels.cache_clear()
    yield
    in_triton._kernels.cache_clear()


def numbers(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype).to(DEVICE).requires_grad_()


def arrays(plan, atoms: int, channels: int) -> list[torch.Tensor]:
    """Factors, scale, what is given and along what is differentiated again."""
    factors, scale = (plan.inputs, atoms, plan.parts_in * channels), (atoms, plan.parts_scale * channels)
    shapes = factors, scale, (plan.outputs, atoms, plan.parts_out * channels), factors
    return [numbers(*shape, dtype=plan.first.dtype) for shape in shapes]


def held(plan, atoms: int, channels: int) -> None:
    """Values, derivatives and their derivatives against plain ones in float64."""
    given, dtype = arrays(plan, atoms, channels), plan.first.dtype
    exact_plan = product_plan.__wrapped__(*degrees(plan), plan.order, torch.float64, type(plan))
    factors, scale, cotangent, along = (value.detach().double().requires_grad_() for value in given)
    out = exact_plan.plain(factors, scale)
    first = torch.autograd.grad(out, (factors, scale), cotangent, create_graph=True)
    second = torch.autograd.grad(first[0], (factors, scale, cotangent), along)
    with torch.no_grad():
        found = [products_value(plan, *given[:2]), *products_first(plan, *given[:3], True)]
        found += [*products_second(plan, *given), products_first(plan, *given[:3], False)[0]]
    for ours, expected in zip(found, [out, *first, *second, first[0]], strict=True):
        assert ours.dtype is dtype and ours.shape == expected.shape and ours.isfinite().all()
        error = torch.linalg.vector_norm(ours.double() - expected)
        assert error <= 16 * torch.finfo(dtype).eps * torch.linalg.vector_norm(expected)


def degrees(plan) -> tuple[int, int]:
    return round(plan.inputs**0.5) - 1, round(plan.outputs**0.5) - 1


# programs take 64 places (atom, channel): less than one of them, one, several, and a last one that is partly empty
@pytest.mark.parametrize(
    ("kind", "degree_in", "degree_out", "order", "atoms", "channels", "dtype"),
    [
        (MixedPlan, 1, 1, 3, 3, 7, torch.float64),
        (MixedPlan, 2, 0, 3, 1, 16, torch.float32),
        (MixedPlan, 1, 0, 2, 5, 21, torch.float32),
        (MixedPlan, 0, 0, 3, 1, 1, torch.float64),
        (MixedPlan, 2, 1, 2, 1, 65, torch.float64),
        (SymmetricPlan, 1, 1, 3, 1, 64, torch.float64),
        (SymmetricPlan, 2, 0, 3, 33, 2, torch.float32),
        (SymmetricPlan, 2, 1, 2, 0, 8, torch.float32),
    ],
)
def test_values_and_derivatives(kind, degree_in, degree_out, order, atoms, channels, dtype):
    torch.manual_seed(0)
    held(product_plan(degree_in, degree_out, order, dtype, kind), atoms, channels)


@pytest.mark.parametrize("most", [1, 40])
def test_functions_cut_into_kernels(most, monkeypatch):
    """Down to one result each; what is computed is the same."""
    monkeypatch.setitem(in_triton.KERNEL_STEPS, torch.float64, most)
    plan = product_plan(1, 1, 2, torch.float64)
    count = {name: len(kernels) for name, kernels in in_triton._kernels(plan).items()}
    assert count["twice"] > 1 and (most > 1 or count["forward"] == 2 * plan.outputs)
    torch.manual_seed(0)
    held(plan, 2, 5)


@pytest.mark.parametrize(("kind", "degree_out"), [(MixedPlan, 1), (SymmetricPlan, 0)])
def test_derivatives_against_differences(kind, degree_out):
    """And third ones, which are of plain operations."""
    torch.manual_seed(0)
    plan = product_plan(1, degree_out, 2, torch.float64, kind)
    given = arrays(plan, 2, 2)[:2]
    function = lambda *x: products(*x, plan)  # noqa: E731
    assert torch.autograd.gradcheck(function, given, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, given, fast_mode=True)


@pytest.mark.parametrize("module", [ManyBodyProduct, SymmetricProduct])
def test_modules_equal_those_on_the_grid(module):
    """With elements' weights, whose derivative forces are trained by."""
    torch.manual_seed(0)
    part = module(1, 1, 3, 3, 2).double().to(DEVICE)
    basis, species, found = numbers(4, 4, 3), torch.tensor([0, 1, 1, 0], device=DEVICE), {}
    for name in ("plain", "auto"):
        with choice.kernels(name):
            out = part(basis, species)
            (slope,) = torch.autograd.grad(out.square().sum(), basis, create_graph=True)
            found[name] = [out, slope, *torch.autograd.grad(slope.square().sum(), list(part.parameters()))]
    for ours, plain in zip(found["auto"], found["plain"], strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-6, atol=1e-6 * float(plain.detach().abs().max()))


def test_what_is_too_long_runs_plain(monkeypatch, caplog):
    monkeypatch.setattr(in_triton, "MOST_STEPS", 10)
    basis, part = numbers(2, 4, 3), ManyBodyProduct(1, 1, 3, 3, 1).double().to(DEVICE)
    with caplog.at_level(logging.WARNING):
        found = [part(basis, torch.zeros(2, dtype=torch.int64, device=DEVICE)) for _ in range(2)]
    (record,) = caplog.records
    assert "more than the 10" in record.message and torch.equal(*found)


def test_a_cache_that_cannot_be_written(monkeypatch, caplog, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EQFF_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        assert not in_triton.takes(product_plan(1, 0, 2, torch.float64), 8, torch.float64)
    assert "plain operations run" in caplog.text
