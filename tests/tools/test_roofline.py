"""Operations and bytes of a roofline are those that can be counted by hand."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from benchmarks import roofline
from benchmarks.ceilings import Ceilings


def test_counts():
    a, b = torch.randn(6, 5), torch.randn(5, 4)
    with roofline.Counter() as counter:
        out = (a @ b).view(-1)
        torch.exp(out)
    assert counter.flops == 2 * 6 * 5 * 4 + 24
    assert counter.moved == 4 * (30 + 20 + 24) + 4 * (24 + 24)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.up = torch.nn.Linear(8, 3, bias=False)
        self.other = torch.nn.Linear(3, 3)

    def forward(self, values):
        return self.other(self.up(self.up(values).repeat(1, 3)[:, :8]))


def test_kernels_are_found_by_name_with_all_their_calls():
    model = Model()
    works = roofline.record(model, lambda: model(torch.randn(10, 8)))
    assert list(works) == ["up"] and works["up"].calls == 2
    # forward and the derivative by the input; that by the weights isn't asked for
    assert works["up"].flops == 2 * 2 * (2 * 10 * 8 * 3)
    once = 4 * (10 * 8 + 10 * 3 + 8 * 3)
    assert works["up"].bytes == 2 * (2 * once + 4 * 10 * 8)
    roofline.timed(works, "cpu")
    text = roofline.table(works, Ceilings(1e9, 1e9))
    assert "linear map before the sum | 2 |" in text
    assert "gate" in roofline.missing(works)


def test_the_lower_ceiling_binds():
    ceilings = Ceilings(flops=100.0, bandwidth=10.0)
    assert (ceilings.seconds(100.0, 1.0), ceilings.binding(100.0, 1.0)) == (1.0, "arithmetic")
    assert (ceilings.seconds(100.0, 20.0), ceilings.binding(100.0, 20.0)) == (pytest.approx(2.0), "memory")
