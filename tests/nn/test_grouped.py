"""Linear maps of groups of rows: against a loop, in both ways of computing them, with second derivatives."""

import pytest
import torch

from eqff.kernels.choice import kernels
from eqff.nn.grouped import GroupedLinear, Groups, grouped_map

INDEX = torch.tensor([3, 0, 0, 1, 3, 1, 0])  # the third group is empty


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(len(shape)))


@pytest.mark.parametrize("way", ["auto", "plain"])
def test_rows_meet_the_matrix_of_their_group(way):
    rows, matrices = random(7, 3), random(4, 3, 5)
    with kernels(way):
        found = grouped_map(rows, matrices, Groups.of(INDEX, 4))
    expected = torch.stack([row @ matrices[group] for row, group in zip(rows, INDEX, strict=True)])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("way", ["auto", "plain"])
def test_derivatives(way):
    rows, matrices = random(7, 3).requires_grad_(), random(4, 3, 5).requires_grad_()
    groups = Groups.of(INDEX, 4)
    with kernels(way):
        assert torch.autograd.gradcheck(lambda *both: grouped_map(*both, groups), (rows, matrices))
        assert torch.autograd.gradgradcheck(lambda *both: grouped_map(*both, groups).tanh(), (rows, matrices))


def test_many_cotangents_at_once():
    rows, groups = random(7, 3).requires_grad_(), Groups.of(INDEX, 4)
    matrices = random(4, 3, 5)
    out = grouped_map(rows, matrices, groups)[0]
    found = torch.autograd.grad(out, rows, torch.eye(5, dtype=torch.float64), is_grads_batched=True)[0]
    torch.testing.assert_close(found[:, 0], matrices[INDEX[0]].t())


def test_no_rows():
    assert grouped_map(random(0, 3), random(4, 3, 5), Groups.of(INDEX[:0], 4)).shape == (0, 5)


def test_layers_of_pairs():
    layer = GroupedLinear((2, 2), 3, 5).to(torch.float64)
    with torch.no_grad():
        layer.bias.normal_()
    rows = random(7, 3)
    found = layer(rows, Groups.of(INDEX, 4))
    for row, group, value in zip(rows, INDEX.tolist(), found, strict=True):
        first, second = divmod(group, 2)
        torch.testing.assert_close(value, row @ layer.weight[first, second] + layer.bias[first, second])
