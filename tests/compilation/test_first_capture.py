"""Tables that operations keep are made of numbers, whatever surrounds the first step of a process."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from eqff.kernels.product_plans import SymmetricPlan
from eqff.nn.many_body import product_plan
from eqff.nn.tensor_product import row_couplings

SCRIPT = """
from test_capture import batch, small_potential
from eqff.compilation.capture import capture
from eqff.compilation.prediction import CompiledPrediction
from eqff.data.flat import with_members
compiled = CompiledPrediction(small_potential(channels=16, num_passes=1), "none")
graph = with_members(batch(compiled._potential, 6, 5, 4))
found = capture(compiled._energy, compiled._weights, graph, compiled._lists, False)
print(len(found.graph.graph.nodes))
"""


SURROUNDINGS = pytest.mark.parametrize("surroundings", [FakeTensorMode, torch.inference_mode])


@SURROUNDINGS
def test_tables_of_products(surroundings):
    make = product_plan.__wrapped__
    settings = (1, 1, 3, torch.float64)
    for kind in (type(product_plan(*settings)), SymmetricPlan):
        plain = make(*settings, kind)
        with surroundings():
            made = make(*settings, kind)
            steps = made.polynomial.steps
        assert made.digest == plain.digest and steps == plain.polynomial.steps
        assert torch.equal(made.first, plain.first) and torch.equal(made.second, plain.second)
        assert not made.first.is_inference() and not made.second.is_inference()


@SURROUNDINGS
def test_tables_of_couplings(surroundings):
    plain = row_couplings.__wrapped__(1, 2, 1)
    with surroundings():
        made = row_couplings.__wrapped__(1, 2, 1)
    assert made.digest == plain.digest and not made.dense.is_inference()


@pytest.mark.slow
def test_a_process_may_begin_with_a_capture():
    folder = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 100
