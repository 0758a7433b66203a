"""Whole trainings of a second: what they learn, keep, write, and how they stop."""

import csv
import itertools
import json

import numpy as np
import pytest
import torch
from ase.io import read, write
from springs import water_frames

import eqff
from eqff.errors import ConfigError, DataError, TrainingError
from eqff.tracking.metric_files import read_metrics
from eqff.train import train
from eqff.training.budget import CpuClock
from eqff.training.callbacks.averaging import WeightAveraging
from eqff.training.callbacks.persistence import Persistence
from eqff.training.module import ForceFieldModule


@pytest.fixture(scope="module")
def unseen_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("test") / "unseen.extxyz"
    write(path, water_frames(6, seed=1))
    return path


def test_leaves_everything(compose, unseen_file):
    """It learns, the model file gives what was evaluated, and the folder has what the report names."""
    cfg = compose("trainer.max_epochs=60", "training.optimizer.lr=0.02", f"+data.test.unseen={unseen_file}")
    result = train(cfg)
    rows = read_metrics(result.folder)
    validation = [row["val/forces_mae"] for row in rows if "val/forces_mae" in row]
    assert validation[-1] < 0.5 * validation[0]
    assert 15 <= len(validation) <= 22  # training.validations, spread over 60 epochs
    assert min(row["val/loss"] for row in rows if "val/loss" in row) == result.metrics["val/loss"]
    potential = eqff.load(result.folder)
    frame = read(unseen_file, "0")
    frame.calc = potential.calculator()
    reference = read(unseen_file, "0").get_forces()
    predicted = read(result.folder / "evaluation" / "unseen_predictions.extxyz", "0").arrays["predicted_forces"]
    np.testing.assert_allclose(frame.get_forces(), predicted, atol=1e-5)
    assert np.abs(predicted - reference).mean() < 3e-3 * result.metrics["unseen/forces_mae"]
    assert potential.metadata.training["metrics"]["unseen/forces_mae"] == result.metrics["unseen/forces_mae"]
    for name in ("report.md", "config.yaml", "run.json", "splits.json", "data_report.json", "result.json"):
        assert (result.folder / name).stat().st_size > 50
    assert "| unseen |" in (result.folder / "report.md").read_text()


def test_rows_have_units_and_csv_equals_jsonl(compose):
    result = train(compose())
    rows = read_metrics(result.folder)
    with (result.folder / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    filled = [{name: value for name, value in row.items() if value} for row in table]
    assert filled == [{name: str(value) for name, value in row.items()} for row in rows]
    units = json.loads((result.folder / "run.json").read_text())["units"]
    errors = {name for row in rows for name in row if name.endswith(("_mae", "_rmse"))}
    assert {"train/forces_mae", "val/energy_per_atom_rmse"} <= errors
    assert errors <= set(units)
    assert all(row["cpu_seconds"] >= 0 for row in rows)


def test_schedule_reaches_its_end_in_steps(compose):
    steps = ("trainer.max_epochs=null", "trainer.max_steps=7", "trainer.log_every_n_steps=1")
    result = train(compose(*steps, "training/optimizer=adamw", "training.optimizer.lr=5e-3"))
    rates = [row["learning_rate"] for row in read_metrics(result.folder) if "train/loss" in row]
    assert len(rates) == 7
    assert rates[0] == pytest.approx(5e-3 * 1e-3)  # warming up
    np.testing.assert_allclose(np.diff(rates[1:]), rates[2] - rates[1])  # linear
    assert rates[-1] == pytest.approx(5e-3 * (1 - (6 / 7 - 0.01) / 0.99))
    assert result.budget["steps"] == {"total": 7, "used": 7}


def test_the_last_weights_are_validated(compose):
    """Also where validations within epochs don't fall on the end of the last one."""
    result = train(compose("trainer.val_check_interval=3", "trainer.max_epochs=2"))  # of 5 steps
    validated = [row["step"] for row in read_metrics(result.folder) if "val/loss" in row]
    assert validated == [3, 8, 10]


def test_what_validation_does_not_see_is_said(compose, tmp_path, capsys):
    """No frame, because a share of few frames is none; or no frame with a label that has a loss."""
    few = tmp_path / "few.extxyz"
    write(few, water_frames(3))
    train(compose(f"data.path={few}", "data.split.val=0.1", "trainer.max_epochs=1"))
    assert "There is no validation set" in capsys.readouterr().out
    write(tmp_path / "val.extxyz", water_frames(3, seed=5, forces=False))
    train(compose(f"data.val={tmp_path / 'val.extxyz'}", "trainer.max_epochs=1", output="other"))
    assert "No validation frame has forces: val/loss" in capsys.readouterr().out


@pytest.fixture
def periodic_file(tmp_path):
    frames = water_frames(12)
    for number, atoms in enumerate(frames):
        atoms.cell, atoms.pbc = [8.0, 8.0, 8.0], True
        atoms.calc.results["stress"] = np.full(6, 1e-3 * number)
    write(tmp_path / "periodic.extxyz", frames)
    return tmp_path / "periodic.extxyz"


def test_every_loss_has_its_error_in_the_table(compose, periodic_file, capsys):
    losses = ("training/losses=energy_forces_stress", "training.losses.energy=null", "training.losses.forces=null")
    result = train(compose(f"data.path={periodic_file}", *losses, "data.require=[stress]", "trainer.max_epochs=1"))
    assert "| mean absolute error | stress (GPa) |" in (result.folder / "report.md").read_text()
    assert f"val/stress_mae {result.metrics['val/stress_mae']:.4g} GPa" in capsys.readouterr().out


def test_errors_of_derivatives_that_no_loss_needs(compose, periodic_file):
    """Validations take them all the same, and can be judged by them."""
    told = ("training/losses=energy", "training.metrics=[forces,stress]", "training.monitor=val/stress_mae")
    result = train(compose(f"data.path={periodic_file}", *told, "trainer.max_epochs=1"))
    assert {"val/energy_mae", "val/forces_mae", "val/stress_mae"} <= result.metrics.keys()


def test_tables_in_a_log_keep_names_whole(compose, tmp_path, capsys):
    path = tmp_path / "test.extxyz"
    write(path, water_frames(2))
    train(compose(f"+data.test.molecules_that_training_never_saw={path}", "trainer.max_steps=1", "evaluate=false"))
    assert "molecules_that_training_never_saw  " in capsys.readouterr().out


def test_cpu_budget_ends_when_it_is_used(compose, monkeypatch):
    """By a clock that moves on when it is looked at: how much a step takes is not the machine's."""
    looks = itertools.count()
    monkeypatch.setattr(CpuClock, "__call__", lambda self: 0.01 * next(looks))
    result = train(compose("trainer.max_epochs=null", "budget.cpu_seconds=3", "trainer.log_every_n_steps=1"))
    used = result.budget["CPU seconds"]["used"]
    rates = [row["learning_rate"] for row in read_metrics(result.folder) if "train/loss" in row]
    assert 2.8 < used < 3.3
    assert rates[-1] < 0.05 * max(rates)
    assert sum("val/loss" in row for row in read_metrics(result.folder)) >= 5


def test_second_stage(compose, monkeypatch):
    stages = []
    original = ForceFieldModule.training_step
    monkeypatch.setattr(
        ForceFieldModule,
        "training_step",
        lambda self, *args: stages.append(self.second_stage) or original(self, *args),
    )
    train(compose("trainer.max_epochs=4", "training.second_stage=0.75"))
    assert stages == [False] * 15 + [True] * 5


def test_a_loss_that_ends_with_the_first_stage(compose):
    """It is not in the validation loss, which has the weights of the second one."""
    end = "training.losses.forces.second_weight=0"
    result = train(compose("trainer.max_epochs=1", "training.second_stage=0.5", "training.losses.energy.weight=1", end))
    (row,) = (row for row in read_metrics(result.folder) if "val/loss" in row)
    assert row["val/loss"] == pytest.approx(1e-3 * row["val/energy_per_atom_mae"], rel=1e-6)  # eV


def test_average_is_validated_and_kept(compose, monkeypatch):
    """The kept weights are the moving average, computed here a second time from the weights after every step."""
    after_step = []
    original = WeightAveraging.on_train_batch_end

    def recording(self, trainer, module, *args):
        original(self, trainer, module, *args)
        after_step.append([p.detach().clone() for p in self._parameters])

    start = []
    begin = WeightAveraging.on_train_start
    monkeypatch.setattr(WeightAveraging, "on_train_batch_end", recording)
    monkeypatch.setattr(
        WeightAveraging,
        "on_train_start",
        lambda self, *args: (begin(self, *args), start.extend(p.detach().clone() for p in self._parameters)),
    )
    result = train(compose("training.ema=0.5", "training.keep=last"))
    average = start
    for step, weights in enumerate(after_step, start=1):
        decay = min(0.5, (1 + step) / (10 + step))
        average = [decay * a + (1 - decay) * w for a, w in zip(average, weights, strict=True)]
    kept = [p for p in result.potential.parameters()]
    for own, expected in zip(kept, average, strict=True):
        torch.testing.assert_close(own, expected)
    assert not all(torch.equal(own, raw) for own, raw in zip(kept, after_step[-1], strict=True))


def test_clipping_is_reported(compose):
    shares = {}
    for limit in (1e-3, 1e6):
        rows = read_metrics(train(compose(f"trainer.gradient_clip_val={limit}", output=f"clip{limit}")).folder)
        shares[limit] = {row["train/clipped_share"] for row in rows if "train/clipped_share" in row}
    assert shares == {1e-3: {1.0}, 1e6: {0.0}}


def test_a_step_has_the_mean_gradient_of_its_batches(compose):
    """Also the last one of an epoch, for which fewer are left: one of five."""
    still = ("training/optimizer=sgd", "training.optimizer.lr=1e-30", "trainer.log_every_n_steps=1")
    norms = {}
    for count in (1, 4):
        result = train(compose(*still, f"trainer.accumulate_grad_batches={count}", output=f"of{count}"))
        rows = read_metrics(result.folder)
        norms[count] = [row["train/gradient_norm"] for row in rows if "train/gradient_norm" in row]
    assert (len(norms[1]), len(norms[4])) == (10, 4)
    assert norms[4][1] == pytest.approx(norms[1][4], rel=1e-4)
    assert norms[4][0] <= np.mean(norms[1][:4]) * (1 + 1e-4)


def test_diverged_loss_names_the_frames(compose, tmp_path, monkeypatch):
    original = ForceFieldModule.forward

    def broken(self, batch):
        prediction = original(self, batch)
        return prediction | {"energy": prediction["energy"] * torch.nan} if 17 in batch.frame.tolist() else prediction

    monkeypatch.setattr(ForceFieldModule, "forward", broken)
    with pytest.raises(TrainingError, match=r"(?s)became nan at step \d.*water.extxyz frame 17.*training.optimizer.lr"):
        train(compose("data.split.seed=0", "data.split.val=1"))


def test_interrupt_saves_and_finishes(compose, monkeypatch, capsys):
    """What Ctrl-C does: the handler is called as the signal would call it."""
    original = Persistence.on_train_batch_end

    def interrupt(self, trainer, *args):
        if trainer.global_step == 3:
            self.ask_to_stop(2)
        original(self, trainer, *args)

    monkeypatch.setattr(Persistence, "on_train_batch_end", interrupt)
    result = train(compose("trainer.max_epochs=50"))
    assert result.interrupted
    assert f"resume={result.folder}" in capsys.readouterr().out
    assert torch.load(result.folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 3
    assert eqff.load(result.folder).predicts


def test_early_stopping(compose):
    """Two validations without a better one after the first; epochs without a validation don't count."""
    nothing = ("training/optimizer=sgd", "training.optimizer.lr=1e-30")
    result = train(compose("trainer.max_epochs=50", "training.early_stopping=2", *nothing))
    validations = [row["epoch"] for row in read_metrics(result.folder) if "val/loss" in row]
    assert len(validations) == 3
    assert validations[-1] > 3
    assert not result.interrupted


@pytest.mark.parametrize(
    ("losses", "monitor"),
    [("energy_forces", "val/forces_mae"), ("energy_forces", "train/loss"), ("forces", "val/loss")],
)
def test_a_monitor_that_validations_do_not_give(compose, tmp_path, losses, monitor):
    """Known before the first step: the validation set has energies alone; without a label its loss would be 0."""
    write(tmp_path / "energies.extxyz", water_frames(4, forces=False))
    data = (f"data.val={tmp_path / 'energies.extxyz'}", "data.split.val=0")
    chosen = ("training.losses.energy=null",) if losses == "forces" else ()
    with pytest.raises(ConfigError, match=f"training.monitor: validations give no '{monitor}'"):
        train(compose(*data, *chosen, f"training.monitor={monitor}"))
    assert not (tmp_path / "run").exists()


def test_a_validation_interval_longer_than_an_epoch(compose):
    with pytest.raises(ConfigError, match=r"trainer.val_check_interval.*\(1000\).*batches \(5\)"):
        train(compose("trainer.val_check_interval=1000"))


def test_without_validation_set(compose):
    result = train(compose("data.split.val=0"))
    assert json.loads((result.folder / "result.json").read_text())["kept"] == "last"
    with pytest.raises(ConfigError, match="needs a validation set"):
        train(compose("data.split.val=0", "training.early_stopping=2"))


def test_energies_alone(compose, tmp_path):
    """Data without forces: refused with the way out, and trained with a loss that doesn't ask for them."""
    path = tmp_path / "energies.extxyz"
    write(path, water_frames(12, forces=False))
    with pytest.raises(DataError, match="forces"):
        train(compose(f"data.path={path}"))
    result = train(compose(f"data.path={path}", "training/losses=energy", "data.require=[energy]"))
    assert "val/energy_mae" in result.metrics
    assert "val/forces_mae" not in result.metrics


def test_loss_without_labels(compose):
    with pytest.raises(ConfigError, match="no part that predicts 'dipole'|none of the .* has 'dipole'"):
        train(compose("+training.losses.dipole={weight: 1.0}"))


def test_a_taken_folder_is_not_overwritten(compose, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("keep")
    assert train(compose("trainer.max_epochs=1")).folder == tmp_path / "run-2"
    assert (tmp_path / "run" / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_seed_same_weights(compose, dtype):
    one, other = (train(compose(f"dtype={dtype}", output=name)).potential for name in ("a", "b"))
    assert one.dtype == getattr(torch, dtype)
    for mine, its in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(mine, its)
