"""Sums into one row: the same as additions by index, and written without them."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from eqff.compilation.single_rows import with_single_rows


def gathered_and_summed(rows, totals, index):
    """A sum over each structure, and a derivative by what each atom takes from its structure."""
    sums = torch.zeros(len(totals), rows.shape[1], dtype=rows.dtype).index_add(0, index, rows)
    totals = totals.detach().requires_grad_()
    (slope,) = torch.autograd.grad((totals[index] * rows).square().sum(), totals)
    return sums, slope


@pytest.mark.parametrize("structures", [1, 2])
def test_same_numbers(structures):
    rows, totals = torch.randn(7, 3, dtype=torch.float64), torch.randn(structures, 3, dtype=torch.float64)
    index = torch.arange(7) % structures
    traced = make_fx(gathered_and_summed, with_single_rows({}))(rows, totals, index)
    for found, expected in zip(traced(rows, totals, index), gathered_and_summed(rows, totals, index), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-14)
    by_index = [
        node for node in traced.graph.nodes if str(node.target).startswith(("aten.index_add", "aten.index_put"))
    ]
    assert bool(by_index) == (structures > 1)


def test_other_rules_of_the_table_stay():
    aten = torch.ops.aten
    calls = []
    table = with_single_rows({aten.index_add.default: lambda *args, **more: calls.append(args) or NotImplemented})
    rows, index = torch.randn(4, 3), torch.tensor([0, 1, 0, 1])
    make_fx(lambda rows: torch.zeros(2, 3).index_add(0, index, rows), table)(rows)
    assert len(calls) == 1
    make_fx(lambda rows: torch.zeros(1, 3).index_add(0, index * 0, rows), table)(rows)
    assert len(calls) == 1
