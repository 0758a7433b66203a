"""Scaling on paper: all-reduces by their formulas, imbalance of real batches, efficiencies in their limits."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("scaling_out", Path(__file__).parents[2] / "tools" / "scaling_out.py")
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["scaling_out"] = module
    spec.loader.exec_module(module)
    return module


def test_all_reduce_is_the_better_of_ring_and_tree(tool):
    network = tool.Network(node=4, latency=1e-5, bandwidth=1e10, inner_latency=1e-6, inner_bandwidth=1e11)
    assert network.reduce(1, 1e6) == 0.0
    assert network.reduce(4, 1e9) == pytest.approx(2 * 0.75 * 1e9 / 1e11 + 6e-6)  # ring, within a machine
    assert network.reduce(1024, 8e5) == pytest.approx(2 * 8e5 / 1e10 + 20e-5)  # tree, between machines


def test_shares_by_work_are_nearly_equal_and_shares_by_count_are_not(tool):
    work = np.random.default_rng(0).integers(2, 600, size=2000)
    by_count = tool.imbalance(work, 8, 3000, balanced=False)
    by_work = tool.imbalance(work, 8, 3000, balanced=True)
    assert by_work < 1.03 < 1.2 < by_count


def test_efficiency_in_its_limits(tool):
    equal = np.full(100, 50)
    nothing = tool.Network(8, 0.0, 1e30, 0.0, 1e30)
    free = tool.Step(floor=0.0, slope=1e-6, parameters=1, sums=0, overlap=0.0)
    for strong in (False, True):
        found = tool.rows(free, nothing, equal, (1, 4, 16), 50 * 160, strong)
        assert [row[-1] for row in found] == pytest.approx([1.0, 1.0, 1.0])
    # a floor that does not shrink bounds strong scaling: Amdahl
    floored = tool.Step(floor=1e-3, slope=1e-6, parameters=1, sums=0, overlap=0.0)
    (last,) = tool.rows(floored, nothing, equal, (16,), 50 * 160, True)
    assert last[-1] == pytest.approx(9e-3 / (16 * (1e-3 + 0.5e-3)))


def test_hidden_all_reduce_costs_nothing(tool):
    network = tool.Network(1, 0.0, 1e9, 0.0, 1e9)
    shown, hidden = (tool.Step(0.01, 0.0, 10**6, 0, overlap) for overlap in (0.0, 1.0))
    assert shown.together(2, 1.0, network) == pytest.approx(0.01 + 4e6 / 1e9)
    assert hidden.together(2, 1.0, network) == pytest.approx(0.01)
