"""NaN: which step, which structures, which tensor first; and nothing good is overwritten by it. Memory: what helps."""

import time
from pathlib import Path

import pytest
import torch

from eqff.data import loaders
from eqff.errors import TrainingError
from eqff.tracking.metric_files import read_metrics
from eqff.tracking.run_folder import RunFolder
from eqff.train import train
from eqff.training.callbacks.averaging import WeightAveraging
from eqff.training.callbacks.persistence import require_finite
from eqff.training.memory import is_out_of_memory, out_of_memory_message, peak_memory
from eqff.training.module import ForceFieldModule
from eqff.training.throughput import Throughput


def weights(path):
    content = torch.load(path, weights_only=True)
    return [*content["state_dict"].values(), *content.get("current_state_dict", {}).values()]


def poisoned(monkeypatch, where, step):
    """Makes the model's readout, or its gradient, NaN for one structure from a step on."""
    original = ForceFieldModule.training_step

    def training_step(self, batch, index):
        if self.trainer.global_step == step - 1:
            layer = [part for part in self.potential.terms.local.modules() if isinstance(part, torch.nn.Linear)][0]
            where(layer, batch)
        return original(self, batch, index)

    monkeypatch.setattr(ForceFieldModule, "training_step", training_step)


def bad_output(layer, batch):
    def hook(_, __, output):
        bad = torch.zeros_like(output)
        bad[4] = torch.nan  # the second atom of the second structure
        return output + bad

    layer.register_forward_hook(hook)


def bad_gradient(layer, batch):
    layer.weight.register_hook(lambda gradient: gradient * torch.inf)


def bad_weight(layer, batch):
    with torch.no_grad():
        layer.weight[0, 0] = torch.nan


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (bad_output, r"loss became nan at step 7 .*output of 'terms.local.*, NaN, in shape .*, in .*frame \d+\."),
        (
            bad_gradient,
            r"gradient became (nan|inf) at step 7 .*gradient of the loss of 'energy' by 'terms.local.*weight'",
        ),
        pytest.param(
            bad_weight,
            r"loss became nan at step 7 .*the weight 'terms.local.*weight'.*1 of \d+ values, NaN",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["output", "gradient", "weight"],
)
def test_names_step_frames_and_tensor_and_keeps_the_state(compose, monkeypatch, where, expected):
    """From the state that is kept the run goes on to where it would have been."""
    settings = ["trainer.max_epochs=3", "training.save_every_seconds=1e-9"]
    whole = train(compose(*settings, output="whole"))
    with monkeypatch.context() as patch:
        poisoned(patch, where, step=7)
        with pytest.raises(
            TrainingError, match=f"(?s){expected}.*training.optimizer.lr.*step 6 is kept.*resume="
        ) as told:
            train(compose(*settings, output="parts"))
    assert str(told.value).count("water.extxyz frame") >= 4
    folder = RunFolder(whole.folder.parent / "parts")
    for path in (folder.last_checkpoint, folder.best_checkpoint):
        assert all(bool(value.isfinite().all()) for value in weights(path))
    train(compose(f"resume={folder.path}"), [])
    for one, other in zip(
        weights(folder.last_checkpoint), weights(RunFolder(whole.folder).last_checkpoint), strict=True
    ):
        assert torch.equal(one, other)


def test_a_bad_average_is_named(compose, monkeypatch):
    """It is what is validated: the trained weights, which were looked at, can be finite."""
    begin = WeightAveraging.on_validation_epoch_start

    def spoilt(self, *args):
        self._average[0].fill_(torch.nan)
        begin(self, *args)

    monkeypatch.setattr(WeightAveraging, "on_validation_epoch_start", spoilt)
    with pytest.raises(TrainingError, match=r"(?s)nan in the validation after step 5.*not finite is the weight"):
        train(compose())


def test_bad_validation_keeps_the_best(compose, monkeypatch):
    """A validation that gives NaN is an error, not the best one so far."""
    original = ForceFieldModule.validation_step

    def validation_step(self, batch, index):
        if self.trainer.global_step == 10:
            batch.positions[0] = torch.nan
        original(self, batch, index)

    monkeypatch.setattr(ForceFieldModule, "validation_step", validation_step)
    with pytest.raises(TrainingError, match=r"(?s)nan in the validation after step 10.*frame \d+.*step 5 is kept"):
        train(compose("trainer.max_epochs=2"))
    folder = RunFolder(Path(compose().output))
    assert torch.load(folder.best_checkpoint, weights_only=True)["global_step"] == 5
    assert [row["step"] for row in read_metrics(folder.path) if "val/loss" in row] == [5]


def test_weights_that_are_not_finite_are_never_written(compose, monkeypatch):
    """The last net, for numbers that nothing looked at."""
    monkeypatch.setattr(ForceFieldModule, "_looks_at", lambda self, value: False)
    poisoned(monkeypatch, bad_weight, step=8)
    with pytest.raises(TrainingError, match=r"(?s)validation after step 10|weight 'potential.*NaN or infinite"):
        train(compose("trainer.max_epochs=2", "training.save_every_seconds=1e-9"))
    folder = RunFolder(Path(compose().output))
    for path in (*folder.states, folder.best_checkpoint):
        assert all(bool(value.isfinite().all()) for value in weights(path))


def test_require_finite_names_the_weight():
    module = torch.nn.Linear(2, 2)
    require_finite(module)
    with torch.no_grad():
        module.bias[1] = torch.inf
    with pytest.raises(TrainingError, match="'bias'"):
        require_finite(module)


def test_no_memory_says_what_was_too_large(compose, monkeypatch):
    """On a CPU: torch's allocator is really asked for more than there is."""
    original = ForceFieldModule.training_step

    def training_step(self, batch, index):
        if self.trainer.global_step == 6:
            torch.empty(2**60)
        return original(self, batch, index)

    monkeypatch.setattr(ForceFieldModule, "training_step", training_step)
    expected = (
        r"(?s)Out of memory in training, with a batch of 4 structures, 12 atoms, 24 edges.*GiB.*data.batch_size=2"
    )
    with pytest.raises(TrainingError, match=expected + r".*step 5 is kept"):
        train(compose("trainer.max_epochs=2"))


def test_which_errors_are_about_memory():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("can't allocate memory"))
    assert "data.eval_batch_size=4" in out_of_memory_message(MemoryError(), None, "validation", 8)


def test_rows_tell_throughput_memory_and_waiting(compose, monkeypatch):
    """A loader that takes twice as long as anything else is told from computing."""
    original = loaders.Structures.__getitems__
    now = [0.0]

    def slow(self, indices):
        now[0] += 0.05
        return original(self, indices)

    def clock():
        """Moves on by less than the loader each time that it is looked at, so that a busy machine changes nothing."""
        now[0] += 1e-4
        return now[0]

    monkeypatch.setattr(loaders.Structures, "__getitems__", slow)
    monkeypatch.setattr(time, "perf_counter", clock)
    result = train(compose("trainer.max_epochs=2", "trainer.log_every_n_steps=5"))
    row = [row for row in read_metrics(result.folder) if "train/loss" in row][-1]
    assert 0.5 < row["train/data_wait_share"] < 1
    assert row["train/atoms_per_second"] == pytest.approx(3 * row["train/structures_per_second"])
    assert 8 < row["train/structures_per_second"] < 4 / 0.05
    assert 0.05 < row["train/memory_gib"] < 100


def test_peak_memory_grows_with_what_is_held():
    before = peak_memory()["memory_gib"]
    held = torch.ones(2**26)  # 0.25 GiB
    assert peak_memory()["memory_gib"] >= before
    assert held.numel() == 2**26


def test_validation_is_not_counted(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("eqff.training.throughput.time.perf_counter", lambda: now[0])
    times = Throughput()
    for waited in (1.0, 2.0):
        now[0] += 4.0
        times.step_ended(structures=2, atoms=10, total_waited=waited)
        now[0] += 100.0
        times.restart_clock()
    expected = {"structures_per_second": 0.5, "atoms_per_second": 2.5, "data_wait_share": 0.25}
    assert times.read() == expected
    times.clear()
    assert times.read() == {}
