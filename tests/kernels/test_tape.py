"""Polynomials as tapes: values and derivatives against automatic differentiation."""

import pytest
import torch

from eqff.kernels.generated.polynomials import mixed, symmetric
from eqff.kernels.generated.tape import Tape


def flat(parts):
    return [value for part in parts for value in part]


@pytest.mark.parametrize(("kind", "parts"), [(mixed, 3), (symmetric, 1)])
def test_derivatives_of_a_polynomial(kind, parts):
    torch.manual_seed(0)
    first, second = torch.randn(5, 4, 4, dtype=torch.float64), torch.randn(4, 5, 4, dtype=torch.float64)
    polynomial = kind(first.where(first > 0, 0.0), second.where(second > 0, 0.0), 3)
    tape = polynomial.tape
    size = {"s": 3 if kind is mixed else 6}
    size |= {f"u{n}": 4 for n in range(parts)} | {f"a{n}": 4 for n in range(parts)}
    size |= {f"g{n}": 4 for n in range(len(polynomial.values))}
    arrays = {name: torch.randn(count, dtype=torch.float64, requires_grad=True) for name, count in size.items()}

    def found(values):
        return torch.stack([torch.as_tensor(value) for value in tape.evaluate(arrays, values)])

    factors, given, along = ([arrays[name] for name in sorted(arrays) if name[0] == kind] for kind in "uga")
    inner = found(flat(polynomial.values)) @ torch.cat(given)
    by = torch.autograd.grad(inner, [*factors, arrays["s"]], create_graph=True)
    torch.testing.assert_close(found([*polynomial.by_factors, *polynomial.by_scale]), torch.cat(by))
    again = torch.cat(by[:-1]) @ torch.cat(along)
    expected = torch.autograd.grad(again, [*factors, arrays["s"], *given])
    torch.testing.assert_close(found(polynomial.twice), torch.cat(expected))


def test_what_is_computed_already_is_found():
    tape = Tape()
    x, y = tape.inputs("x", 2)
    assert tape.product(x, y) == tape.product(y, x)
    assert tape.combination([(1.0, x), (2.0, x), (0.0, y)]) == tape.combination([(3.0, x)])
    assert tape.combination([(1.0, x), (-1.0, x)]) is None and tape.product(x, None) is None
    assert tape.combination([(1.0, y)]) == y


def test_only_what_is_needed_is_computed():
    tape = Tape()
    x, y, z = tape.inputs("x", 3)
    wanted = tape.product(x, y)
    tape.product(wanted, z)
    assert tape.needed([wanted, None]) == [x, y, wanted]
    assert tape.gradients([(wanted, z)], [x, z]) == [tape.product(y, z), None]
