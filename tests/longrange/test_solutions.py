"""Solutions from factors: right, and with the derivatives of what is solved."""

import pytest
import torch

from eqff.errors import ModelError
from eqff.longrange.dense import constrained_step, minimize_dense
from eqff.longrange.padding import Padding
from eqff.longrange.solutions import solutions


def problem(size: int = 3):
    torch.manual_seed(0)
    batch = torch.tensor([0] * size + [1] * (size - 1))
    padding = Padding.whole(batch, 2)
    root = torch.randn(2, size, size, dtype=torch.float64)
    both = padding.mask[:, :, None] & padding.mask[:, None, :]
    matrix = torch.where(both, root @ root.transpose(1, 2) + torch.eye(size, dtype=torch.float64), 0.0)
    linear, totals = torch.randn(2 * size - 1).double(), torch.tensor([1.0, -0.5]).double()
    return matrix, linear, totals, padding, batch


def inverted(right, turned, inverse):
    return ((inverse.transpose(1, 2) if turned else inverse) @ right[..., None])[..., 0]


def test_derivatives_of_a_matrix_that_is_not_symmetric():
    torch.manual_seed(0)
    matrix = (torch.randn(2, 3, 3).double() + 3 * torch.eye(3)).requires_grad_()
    right = torch.randn(2, 3).double().requires_grad_()

    def solved(matrix, right):
        return solutions(matrix, right, inverted, matrix.detach().inverse())

    torch.testing.assert_close(solved(matrix, right), torch.linalg.solve(matrix, right))
    torch.autograd.gradcheck(solved, (matrix, right))
    torch.autograd.gradgradcheck(solved, (matrix, right))


def test_minima_and_their_derivatives():
    """The constraint holds, no displacement that keeps it gains anything, and derivatives are those of the minimum."""
    matrix, linear, totals, padding, batch = problem()

    def minimum(matrix, linear, totals):
        symmetric = 0.5 * (matrix + matrix.transpose(1, 2))
        return minimize_dense(symmetric, linear, totals, padding, batch, "The matrix")

    x = minimum(matrix, linear, totals)
    slope = padding.scatter((matrix @ padding.gather(x)[..., None])[..., 0]) + linear
    for structure in (0, 1):
        torch.testing.assert_close(x[batch == structure].sum(), totals[structure])
        assert float(slope[batch == structure].std()) < 1e-12
    inputs = [value.requires_grad_() for value in (matrix, linear, totals)]
    torch.autograd.gradcheck(minimum, inputs)
    torch.autograd.gradgradcheck(minimum, inputs)


def test_many_cotangents_at_once():
    matrix, linear, totals, padding, batch = problem()
    linear.requires_grad_()
    x = minimize_dense(matrix, linear, totals, padding, batch, "The matrix")
    seeds = torch.eye(len(x)).double()
    (together,) = torch.autograd.grad(x, linear, seeds, is_grads_batched=True, retain_graph=True)
    each = [torch.autograd.grad(x, linear, seed, retain_graph=True)[0] for seed in seeds]
    torch.testing.assert_close(together, torch.stack(each))


def test_steps_keep_the_sum_whatever_is_asked():
    matrix, _, _, padding, _ = problem()
    mask, factor = padding.mask.double(), torch.linalg.cholesky(matrix + 2 * torch.eye(3))
    right = torch.tensor([[1.0, 1.0, 1.0], [2.0, 2.0, 9.0]]).double()
    torch.testing.assert_close(constrained_step(right, factor, mask), torch.zeros(2, 3).double())


@pytest.mark.parametrize(("broken", "message"), [(-5.0, "has no minimum"), (torch.nan, "is not finite")])
def test_what_has_no_minimum_is_refused(broken, message):
    matrix, linear, totals, padding, batch = problem()
    if broken == broken:
        matrix = matrix + torch.diag_embed(broken * 10 * padding.mask.double())
    else:
        linear[0] = broken
    with pytest.raises(ModelError, match=f"The matrix of structure 0.*{message}"):
        minimize_dense(matrix, linear, totals, padding, batch, "The matrix")
