"""Fused operations against plain ones: values, first and second derivatives, and beyond."""

import pytest
import torch

from eqff.kernels.bilinear import RowBilinear, RowCouplings
from eqff.kernels.choice import fused, kernels, own_rules
from eqff.kernels.library import library
from eqff.kernels.linear import degree_map
from eqff.kernels.messages import EdgeOrder, messages, plain_messages
from eqff.kernels.product_plans import MixedPlan, SymmetricPlan
from eqff.kernels.products import products
from eqff.nn.many_body import ManyBodyProduct, product_plan
from eqff.nn.symmetric_product import SymmetricProduct
from eqff.nn.tensor_product import row_couplings

pytestmark = pytest.mark.skipif(library() is None, reason="needs a C++ compiler")


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def check(function, inputs, third: bool = True) -> None:
    """First and second derivatives against differences, and third ones against plain operations' derivatives."""
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)
    if third:
        assert torch.autograd.gradgradcheck(lambda *x: derivative(function, x), inputs, fast_mode=True)


def derivative(function, inputs):
    """A nonlinear function of all first derivatives."""
    out = function(*inputs)
    weights = torch.linspace(-1.0, 1.0, out.numel(), dtype=out.dtype).view_as(out)
    wanted = [value for value in inputs if value.requires_grad]
    found = torch.autograd.grad((weights * out * out).sum(), wanted, create_graph=True)
    return tuple(found)


def _value_and_derivatives(function, inputs):
    """The value, first derivatives of its square, and derivatives of theirs."""
    first = derivative(function, inputs)
    second = torch.autograd.grad(sum((value**2).sum() for value in first), inputs)
    return function(*inputs), *first, *second


@pytest.fixture
def edges() -> EdgeOrder:
    """With an atom without neighbours, one that sends more than it receives, and an edge twice."""
    receiver, sender = torch.tensor([0, 0, 0, 2, 2, 4, 4, 4]), torch.tensor([1, 1, 4, 0, 4, 0, 1, 2])
    return EdgeOrder.of(receiver, sender, 5)


# channels that fill four vectors, two, one, leave one partly empty, and both
@pytest.mark.parametrize(
    ("inputs", "outputs", "channels"),
    [
        *[(1, 9, 3), (1, 9, 16), (1, 9, 32), (4, 9, 8), (4, 9, 16), (9, 9, 11), (9, 9, 16)],
        *[(4, 1, 3), (16, 4, 2), (16, 4, 16)],
    ],
)
def test_messages(edges, inputs, outputs, channels):
    torch.manual_seed(0)
    count = len(edges.sender)
    given = numbers(count, outputs * inputs), numbers(count, channels), numbers(inputs, 5, channels)
    torch.testing.assert_close(messages(*given, edges), plain_messages(*given, edges))
    check(lambda *x: messages(*x, edges), given, third=channels == 3)


@pytest.mark.parametrize("atoms", [0, 1, 3])
def test_messages_without_edges(atoms):
    none = torch.zeros(0, dtype=torch.int64)
    order = EdgeOrder.of(none, none, atoms)
    given = numbers(0, 36), numbers(0, 8), numbers(4, atoms, 8)
    found = messages(*given, order)
    assert found.shape == (9, atoms, 8) and not found.any()
    slopes = derivative(lambda *x: derivative(lambda *y: messages(*y, order), x)[2], given)  # third ones are plain
    assert [slope.shape for slope in slopes] == [value.shape for value in given] and not slopes[2].any()


@pytest.mark.parametrize(("inputs", "outputs"), [(36, 1), (1, 36)])
def test_messages_of_more_components_than_there_is_room_for_are_refused(edges, inputs, outputs):
    count = len(edges.sender)
    with pytest.raises(ValueError, match="don't fit"):
        messages(numbers(count, outputs * inputs), numbers(count, 8), numbers(inputs, 5, 8), edges)


@pytest.mark.parametrize("inputs", [1, 4, 9])
@pytest.mark.parametrize("channels", [21, 64])
def test_messages_in_float32(edges, inputs, channels):
    """Vectors have other lengths there: the same numbers in float64 tell what they should hold."""
    torch.manual_seed(0)
    count = len(edges.sender)
    wide = numbers(count, 9 * inputs), numbers(count, channels), numbers(inputs, 5, channels)
    narrow = [value.detach().float().requires_grad_() for value in wide]
    found, exact = (_value_and_derivatives(lambda *x: messages(*x, edges), given) for given in (narrow, wide))
    for value, right in zip(found, exact, strict=True):
        torch.testing.assert_close(value.double(), right, rtol=0.0, atol=2e-6 * float(right.detach().abs().max()))


@pytest.mark.parametrize(("degree_in", "degree_out", "order"), [(2, 2, 3), (2, 0, 3), (1, 1, 2), (3, 1, 2), (0, 0, 3)])
def test_products(degree_in, degree_out, order):
    torch.manual_seed(0)
    plan = product_plan(degree_in, degree_out, order, torch.float64)
    given = numbers((degree_in + 1) ** 2, 2, order * 3), numbers(2, order * 3)
    torch.testing.assert_close(products(*given, plan), plan.plain(*given))
    check(lambda *x: products(*x, plan), given, third=degree_in == 1)


@pytest.mark.parametrize(
    ("kind", "degree_out", "order"), [(MixedPlan, 1, 3), (SymmetricPlan, 1, 3), (SymmetricPlan, 2, 2)]
)
@pytest.mark.parametrize("channels", [8, 21])
def test_code_made_for_products(kind, degree_out, order, channels):
    """Channels that fill vectors, and such that the last vector overlaps the one before."""
    torch.manual_seed(0)
    plan = product_plan(2, degree_out, order, torch.float64, kind)
    assert plan.code.takes(channels)
    given = numbers(9, 3, plan.parts_in * channels), numbers(3, plan.parts_scale * channels)
    torch.testing.assert_close(products(*given, plan), plan.plain(*given))
    check(lambda *x: products(*x, plan), given, third=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("kind", "channels", "degree_in", "degree_out", "order"),
    [
        (ManyBodyProduct, 6, 2, 2, 3),
        (ManyBodyProduct, 6, 2, 1, 2),
        (ManyBodyProduct, 6, 4, 2, 3),
        (ManyBodyProduct, 6, 3, 3, 3),
        (SymmetricProduct, 16, 2, 1, 3),
        (SymmetricProduct, 16, 2, 2, 2),
    ],
)
def test_products_by_gaunt_coefficients_equal_those_on_the_grid(kind, channels, degree_in, degree_out, order, dtype):
    torch.manual_seed(0)
    previous = torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # in which modules keep their constants
    try:
        module = kind(degree_in, degree_out, channels, order, 2)
    finally:
        torch.set_default_dtype(previous)
    with torch.no_grad():
        basis, species = torch.randn(7, (degree_in + 1) ** 2, channels, dtype=dtype), torch.arange(7) % 2
        with kernels("plain"):
            plain = module(basis, species)
        with kernels("fused"):
            fused = module(basis, species)
    rounding = {torch.float32: 3e-6, torch.float64: 1e-13}[dtype] * float(plain.abs().max())
    torch.testing.assert_close(fused, plain, rtol=0.0, atol=rounding)


def test_row_bilinear():
    torch.manual_seed(0)
    couplings = row_couplings(2, 2, 1)
    paths, harmonics = couplings.dense.shape[1:]
    given = numbers(19, paths), numbers(19, harmonics)  # more rows than a vector holds
    function = lambda x, y: RowBilinear.apply(x, y, couplings, (0, 1, 2))  # noqa: E731
    expected = torch.einsum("kij,ei,ej->ek", couplings.dense, *given)
    torch.testing.assert_close(function(*given), expected)
    check(function, given)


def test_rows_may_be_part_of_wider_ones():
    couplings = row_couplings(1, 1, 1)
    paths, harmonics = couplings.dense.shape[1:]
    wide, y = torch.randn(5, paths + 3), torch.randn(5, harmonics)
    part = RowBilinear.apply(wide[:, 3:], y, couplings, (0, 1, 2))
    torch.testing.assert_close(part, RowBilinear.apply(wide[:, 3:].clone(), y, couplings, (0, 1, 2)))


def test_degree_map():
    torch.manual_seed(0)
    features, matrices = numbers(9, 4, 3), numbers(3, 3, 2)
    degrees = torch.tensor([0, 1, 1, 1, 2, 2, 2, 2, 2])
    torch.testing.assert_close(degree_map(features, matrices), torch.bmm(features, matrices[degrees]))
    check(degree_map, (features, matrices))


def operations(edges: EdgeOrder):
    """Each with inputs that suit it."""
    torch.manual_seed(0)
    count, plan, couplings = len(edges.sender), product_plan(1, 1, 3, torch.float64), row_couplings(1, 1, 1)
    paths, harmonics = couplings.dense.shape[1:]
    atoms = len(edges.into) - 1
    return {
        "messages": (lambda *x: messages(*x, edges), (numbers(count, 36), numbers(count, 3), numbers(4, atoms, 3))),
        "products": (lambda *x: products(*x, plan), (numbers(4, atoms, 9), numbers(atoms, 9))),
        "rows": (
            lambda *x: RowBilinear.apply(*x, couplings, (0, 1, 2)),
            (numbers(count, paths), numbers(count, harmonics)),
        ),
        "degrees": (degree_map, (numbers(4, atoms, 3), numbers(2, 3, 2))),
    }


NAMES = ("messages", "products", "rows", "degrees")


@pytest.mark.parametrize("name", NAMES)
def test_without_edges_or_atoms(name):
    """One atom alone, and nothing at all: shapes are right, and the sum over no neighbours is zero."""
    empty = torch.empty(0, dtype=torch.int64)
    for atoms in (1, 0):
        function, inputs = operations(EdgeOrder.of(empty, empty, atoms))[name]
        found = derivative(function, inputs)
        assert [value.shape for value in found] == [value.shape for value in inputs]
        again = torch.autograd.grad(sum(value.square().sum() for value in found), inputs, allow_unused=True)
        assert all(value is None or bool(value.isfinite().all()) for value in again)
        if name == "messages":
            assert not function(*inputs).any() and not any(value.any() for value in found)


@pytest.mark.parametrize("name", NAMES)
def test_arrays_in_any_order_of_memory(edges, name):
    function, inputs = operations(edges)[name]
    turned = [value.detach().transpose(0, -1).contiguous().transpose(0, -1).requires_grad_() for value in inputs]
    for one, other in zip(derivative(function, turned), derivative(function, inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=1e-12)
    check(function, turned, third=False)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_of_many_cotangents_at_once(edges, name):
    """``is_grads_batched``, as vectorized Jacobians use it, differentiates the plain operation."""
    function, inputs = operations(edges)[name]
    out = function(*inputs)
    given = torch.randn(3, *out.shape, dtype=out.dtype)
    batched = torch.autograd.grad(out, inputs, given, is_grads_batched=True, retain_graph=True)
    for index in range(3):
        one = torch.autograd.grad(out, inputs, given[index], retain_graph=True)
        for found, expected in zip(batched, one, strict=True):
            torch.testing.assert_close(found[index], expected, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_threads_change_nothing(edges, name):
    """Not a bit: each number is a sum of one thread, in one order."""
    function, inputs = operations(edges)[name]
    found = {}
    for count in (1, 3):
        torch.set_num_threads(count)
        try:
            first = derivative(function, inputs)
            second = torch.autograd.grad(sum(value.square().sum() for value in first), inputs)
        finally:
            torch.set_num_threads(1)
        found[count] = [*first, *second]
    assert all(torch.equal(one, other) for one, other in zip(found[1], found[3], strict=True))


def test_what_does_not_fit_is_refused(edges):
    """Numbers of another precision or shape would be read as something else, or beyond the array's end."""
    given = torch.randn(8, 36), torch.randn(8, 3), torch.randn(4, 5, 3)
    wrong = [(0, given[0].double()), (1, given[1].half()), (1, given[1][:7]), (2, given[2][:, :4])]
    for index, value in [*wrong, (2, torch.randn(5, 5, 3))]:
        with pytest.raises(ValueError, match="don't fit"):
            messages(*given[:index], value, *given[index + 1 :], edges)
    plan = product_plan(1, 1, 3, torch.float64)
    with pytest.raises(ValueError, match="don't fit"):
        products(torch.randn(4, 5, 9), torch.randn(5, 9), plan)
    with pytest.raises(ValueError, match="don't fit"):
        RowBilinear.apply(torch.randn(5, 3), torch.randn(5, 3), row_couplings(1, 1, 1), (0, 1, 2))
    wide = RowCouplings(torch.ones(1, 801, 1))
    with pytest.raises(ValueError, match="don't fit"):
        RowBilinear.apply(torch.randn(5, 801), torch.randn(5, 1), wide, (0, 1, 2))
    with pytest.raises(ValueError, match="4 components, not 9"):
        degree_map(torch.randn(9, 5, 3), torch.randn(2, 3, 3))
    for receiver, sender in (([0, 2, 1], [1, 1, 0]), ([0, 1, 5], [1, 0, 0]), ([0, 1, 2], [1, -1, 0])):
        with pytest.raises(ValueError, match="sorted by receiver"):
            EdgeOrder.of(torch.tensor(receiver), torch.tensor(sender), 5)


def test_a_compiler_follows_the_choice():
    """Where ``torch.compile`` traces, plain operations run, and asking which do doesn't stop it."""
    follow = torch.compile(lambda x: (fused(x), own_rules()), backend="eager", fullgraph=True)
    assert follow(torch.ones(2)) == (False, False) and fused(torch.ones(2))
