"""What compilers raise, which is not only errors of PyTorch."""

import subprocess

import pytest
from test_capture import batch, small_potential

from eqff.compilation.prediction import CompiledPrediction
from eqff.errors import ModelError


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), subprocess.TimeoutExpired("g++", 60)])
def test_a_full_disk_stops_no_training_that_may_run_uncompiled(monkeypatch, caplog, error):
    def failing(*args, **kwargs):
        raise error

    monkeypatch.setattr("eqff.compilation.capture.capture", failing)
    potential = small_potential()
    graph = batch(potential, 4, 5)
    CompiledPrediction(potential, "none", required=False)(graph, False)
    assert str(error) in caplog.text and "run uncompiled" in caplog.text
    with pytest.raises(ModelError, match="can't compile this model's training step"):
        CompiledPrediction(potential, "none")(graph, False)
