"""Atoms on a mesh and sums over pairs of multipoles: fused operations against plain ones, derivatives included."""

import pytest
import torch

import eqff.kernels.mesh as mesh_module
from eqff.kernels.choice import kernels
from eqff.kernels.generated.pairs import PairCode
from eqff.kernels.generated.tape import Tape
from eqff.kernels.generated.values import values
from eqff.kernels.library import library
from eqff.kernels.mesh import SHAPES, plain_read, plain_spread, read, spread, takes
from eqff.longrange.multipoles.pairs import MultipolePairs, _dipole_fields_operation

pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler")
SIDE = 9


def leaf(*shape):
    return torch.randn(*shape, dtype=torch.float64).requires_grad_()


def derivatives(function, inputs):
    """Values, and random combinations of first, second and third derivatives."""
    torch.manual_seed(1)
    value, found = function(), []
    found.append(value)
    for _ in range(3):
        seed = torch.randn(value.shape, dtype=value.dtype)
        by = torch.autograd.grad(value, inputs, seed, create_graph=True, allow_unused=True, materialize_grads=True)
        value = torch.cat([(g * (1 + x)).flatten() for g, x in zip(by, inputs, strict=True)])
        found.append(value)
    return [each.detach() for each in found]


def assert_same(plain, fast, inputs):
    for one, other in zip(derivatives(plain, inputs), derivatives(fast, inputs), strict=True):
        # sums of some thousand products in another order
        largest = float(one.abs().max()) if one.numel() else 0.0
        torch.testing.assert_close(other, one, rtol=1e-11, atol=1e-11 * largest)


def mesh_points(atoms, order):
    """Blocks of a mesh that go round its edges."""
    lower = torch.randint(0, SIDE, (atoms, 3))
    x, y, z = ((lower[:, i, None] + torch.arange(order)) % SIDE for i in range(3))
    return ((x[:, :, None, None] * SIDE + y[:, None, :, None]) * SIDE + z[:, None, None, :]).flatten(1)


@pytest.mark.parametrize(("order", "count"), sorted(SHAPES))
def test_mesh(order, count):
    torch.manual_seed(0)
    points, splines = mesh_points(5, order), leaf(5, 3, count, order)
    mesh, coefficients = leaf(SIDE**3), leaf(5, count, count, count)
    assert takes(splines)
    assert_same(lambda: plain_read(mesh, splines, points), lambda: read(mesh, splines, points), [mesh, splines])
    ways = (lambda way=way: way(coefficients, splines, points, SIDE**3) for way in (plain_spread, spread))
    assert_same(*ways, [coefficients, splines])


def test_mesh_derivatives_that_nobody_asks_for_are_not_made(monkeypatch):
    """Forces of moments that are learned pass by the moments."""
    order, count = 6, 1
    points = mesh_points(5, order)
    places, raw = leaf(5, 3, count, order), leaf(5, count, count, count)
    splines, coefficients = places * 1.0, raw * 1.0
    made = []
    whole = mesh_module._run
    monkeypatch.setattr(mesh_module, "_run", lambda what, *rest: (made.append(what), whole(what, *rest)))
    spread_out = spread(coefficients, splines, points, SIDE**3).square().sum()
    torch.autograd.grad(spread_out, places, retain_graph=True)
    assert made == [mesh_module.SPREAD, mesh_module.BY_SPLINES]
    torch.autograd.grad(spread_out, raw)
    assert made[2:] == [mesh_module.READ]


def test_mesh_of_strided_arrays_and_batched_derivatives():
    torch.manual_seed(0)
    points, splines = mesh_points(4, 8), leaf(4, 3, 3, 8)
    mesh = leaf(2 * SIDE**3)
    parts = mesh[::2], splines[:, :, :2]
    assert_same(lambda: plain_read(*parts, points), lambda: read(*parts, points), [mesh, splines])
    value, seeds = read(*parts, points), torch.randn(3, 4, 2, 2, 2, dtype=torch.float64)
    (together,) = torch.autograd.grad(value, [splines], seeds, is_grads_batched=True, retain_graph=True)
    for seed, each in zip(seeds, together, strict=True):
        torch.testing.assert_close(torch.autograd.grad(value, [splines], seed, retain_graph=True)[0], each)


def test_points_beyond_the_mesh_are_refused():
    splines, points = leaf(2, 3, 1, 6), mesh_points(2, 6)
    for wrong in (points + SIDE**3, points - SIDE**3):
        with pytest.raises(ValueError, match="don't fit"):
            read(torch.zeros(SIDE**3, dtype=torch.float64), splines, wrong)


def test_numbers_of_another_precision_are_refused():
    splines, points, mesh = leaf(2, 3, 1, 6), mesh_points(2, 6), torch.zeros(SIDE**3)
    with pytest.raises(ValueError, match="float32"):
        read(mesh, splines, points)
    with pytest.raises(ValueError, match="float32"):
        spread(torch.ones(2, 1, 1, 1), splines, points, SIDE**3)


CALLS = {
    "fields of quadrupoles": (10, lambda pairs, rows: pairs.fields(rows, 2)),
    "fields of charges": (1, lambda pairs, rows: pairs.fields(rows, 1)),
    "energy of quadrupoles": (10, lambda pairs, rows: pairs.energy(rows)),
    "energy of charges": (1, lambda pairs, rows: pairs.energy(rows)),
    "fields of dipoles": (3, lambda pairs, rows: pairs.dipole_fields(rows)),
    "energy of dipoles": (3, lambda pairs, rows: pairs.dipole_energy(rows)),
}


@pytest.mark.parametrize("count", [0, 3, 21])  # not whole vectors
@pytest.mark.parametrize("name", CALLS)
def test_pairs(name, count, monkeypatch):
    """The operation, its first and its second derivatives are code each, which runs."""
    torch.manual_seed(0)
    called, call_code = set(), PairCode.__call__
    monkeypatch.setattr(PairCode, "__call__", lambda code, *args: (called.add(code), call_code(code, *args)))
    width, call = CALLS[name]
    rows, vectors, chain = leaf(6, width), leaf(3, count), tuple(leaf(count) for _ in range(5))
    pairs = MultipolePairs(torch.randint(0, 6, (count,)), torch.randint(0, 6, (count,)), vectors, chain)

    def run(choice):
        def function():
            with kernels(choice):
                return call(pairs, rows)

        return function

    assert_same(run("plain"), run("fused"), [rows, vectors, *chain])
    assert len(called) == (3 if count else 0)


def dipole_pairs(dtype=torch.float64):
    rows, vectors, *chain = (leaf(*shape).detach().to(dtype).requires_grad_() for shape in ((4, 3), (3, 5), (5,), (5,)))
    index = torch.tensor([0, 0, 1, 3, 2])
    return rows, MultipolePairs(index, index.flip(0), vectors, (chain[0], *chain))


def test_pairs_in_float32_run_plain():
    rows, pairs = dipole_pairs(torch.float32)
    with kernels("plain"):
        expected = pairs.dipole_fields(rows)
    assert torch.equal(pairs.dipole_fields(rows), expected)


@pytest.mark.parametrize("missing", ["first", "second"])
def test_derivatives_whose_code_cannot_be_made_are_plain(missing, monkeypatch):
    rows, pairs = dipole_pairs()
    operation = _dipole_fields_operation()
    monkeypatch.setattr(getattr(operation, missing), "_library", None)

    def run(choice):
        def function():
            with kernels(choice):
                return pairs.dipole_fields(rows)

        return function

    assert_same(run("plain"), run("fused"), [rows, pairs.vectors, *pairs.chain[1:]])


def test_pairs_of_atoms_that_there_are_not_are_refused():
    pairs = MultipolePairs(torch.tensor([0]), torch.tensor([4]), leaf(3, 1), tuple(leaf(1) for _ in range(3)))
    with kernels("fused"), pytest.raises(ValueError, match="atoms beyond"):
        pairs.dipole_fields(leaf(4, 3))


def test_formulas_write_tapes():
    tape = Tape()
    x, y = values(tape, "x", 2)
    formula = sum(2 * a * b - (-a) for a, b in ((x, y), (y, y)))
    assert tape.evaluate({"x": [3.0, 5.0]}, [formula.place]) == [2 * 15 + 3 + 2 * 25 + 5]
    with pytest.raises(ValueError, match="no constant terms"):
        x + 1.0
