"""A training that was stopped goes on as if it had not been: to the last bit, and to the last line of metrics."""

import os
import shutil

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from eqff.comparison.folders import read_folder
from eqff.comparison.run import State
from eqff.errors import ConfigError, TrainingError
from eqff.tracking.metric_files import read_metrics
from eqff.tracking.run_folder import RunFolder
from eqff.train import train
from eqff.training.callbacks.best import BestCheckpoint
from eqff.training.callbacks.pacing import Pacing
from eqff.training.callbacks.persistence import Interrupted, Persistence
from eqff.training.module import ForceFieldModule
from eqff.training.random_state import random_state, set_random_state
from eqff.training.resuming import saved_state

MEASURED = ("time", "cpu_seconds", "wall_seconds", "structures_per_second", "atoms_per_second", "data_wait", "memory")
"""What no two runs have in common, by a part of its name."""


def state(folder, name="last"):
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def rows(folder):
    """Metric rows without what is measured about the machine."""
    return [{k: v for k, v in row.items() if not any(m in k for m in MEASURED)} for row in read_metrics(folder)]


def assert_same(one, other):
    """Weights, their average, optimizer, counters and what callbacks remember, but for clocks and paths."""
    for key in ("state_dict", "current_state_dict"):
        assert one.get(key, {}).keys() == other.get(key, {}).keys()
        for name, value in one.get(key, {}).items():
            assert torch.equal(value, other[key][name]), f"{key} {name}"
    moments = one["optimizer_states"][0]["state"], other["optimizer_states"][0]["state"]
    for index, values in moments[0].items():
        for name, value in values.items():
            assert torch.equal(value, moments[1][index][name]), f"optimizer {index} {name}"
    assert one["global_step"] == other["global_step"]
    assert one["random_state"]["python"] == other["random_state"]["python"]
    assert one["random_state"]["numpy"] == other["random_state"]["numpy"]
    assert torch.equal(one["random_state"]["torch"], other["random_state"]["torch"])


def assert_same_run(whole, parts):
    assert_same(state(whole), state(parts))
    assert_same(state(whole, "best"), state(parts, "best"))
    assert rows(whole) == rows(parts)


def interrupt_after(patch, step):
    """What Ctrl-C during a step does."""
    original = Persistence.on_train_batch_end

    def interrupting(self, trainer, *args):
        if trainer.global_step == step and not self.interrupted:
            self.ask_to_stop(2)
        original(self, trainer, *args)

    patch.setattr(Persistence, "on_train_batch_end", interrupting)


def stop_after(patch, step):
    """What the end of a budget in seconds does."""
    original = Pacing.on_train_batch_end

    def stopping(self, trainer, *args):
        original(self, trainer, *args)
        if trainer.global_step == step:
            self.stop(trainer)

    patch.setattr(Pacing, "on_train_batch_end", stopping)


def add_noise(patch):
    """Makes every step draw random numbers, as a model with dropout does."""
    original = ForceFieldModule.training_step

    def noisy(self, *args):
        with torch.no_grad():
            for parameter in self.potential.parameters():
                parameter += 1e-4 * (torch.rand(()) + np.random.rand())
        return original(self, *args)

    patch.setattr(ForceFieldModule, "training_step", noisy)


def test_two_and_two_epochs_are_four(compose):
    whole = train(compose("trainer.max_epochs=4", "training/schedule=constant", output="whole"))
    first = train(compose("trainer.max_epochs=2", "training/schedule=constant", output="parts"))
    second = train(compose(f"resume={first.folder}"), [f"resume={first.folder}", "trainer.max_epochs=4"])
    assert second.folder == first.folder
    assert_same_run(whole.folder, second.folder)
    assert second.metrics["val/forces_mae"] == whole.metrics["val/forces_mae"]


SETTINGS = {
    "muon with average and warm-up": ["model.backbone.channels=8", "training.ema=0.9", "training.schedule.warmup=0.5"],
    "adamw without average": ["training/optimizer=adamw", "training.ema=null", "training.second_stage=0.5"],
    "gathered gradients": ["trainer.accumulate_grad_batches=2", "training.second_stage=0.4"],
    "few validations": ["training.validations=2"],
    "validations within epochs": ["trainer.val_check_interval=2"],
    "early stopping": ["training.early_stopping=4"],
}


@pytest.mark.parametrize(
    ("name", "stop_step"),
    [
        ("muon with average and warm-up", 3),
        ("gathered gradients", 4),
        ("validations within epochs", 3),
        ("early stopping", 5),
        *(pytest.param(name, step, marks=pytest.mark.slow) for name in SETTINGS for step in (1, 3, 5, 9)),
    ],
)
def test_interrupted_anywhere(compose, monkeypatch, name, stop_step):
    """Within an epoch and at its end: the same weights, best weights and rows as without the interruption."""
    add_noise(monkeypatch)
    settings = ["trainer.max_epochs=4", "trainer.log_every_n_steps=3", *SETTINGS[name]]
    whole = train(compose(*settings, output="whole"))
    with monkeypatch.context() as patch:
        interrupt_after(patch, stop_step)
        first = train(compose(*settings, output="parts"))
    assert first.interrupted
    assert stop_step <= state(first.folder)["global_step"] < state(whole.folder)["global_step"]
    second = train(compose(f"resume={first.folder}"), [f"resume={first.folder}"])
    assert_same_run(whole.folder, second.folder)
    assert second.metrics == whole.metrics


@pytest.mark.parametrize("stop_step", [3, pytest.param(5, marks=pytest.mark.slow)])
def test_budget_ended_anywhere(compose, monkeypatch, stop_step):
    """The state is that of the last step; the validation that follows is one more."""
    whole = train(compose("trainer.max_epochs=4", output="whole"))
    with monkeypatch.context() as patch:
        stop_after(patch, stop_step)
        first = train(compose("trainer.max_epochs=4", output="parts"))
    assert state(first.folder)["global_step"] == stop_step
    second = train(compose(f"resume={first.folder}"), [f"resume={first.folder}"])
    assert_same(state(whole.folder), state(second.folder))


def test_more_steps(compose):
    steps = ["trainer.max_epochs=null", "training/schedule=constant"]
    whole = train(compose("trainer.max_steps=13", *steps, output="whole"))
    first = train(compose("trainer.max_steps=7", *steps, output="parts"))
    second = train(compose(f"resume={first.folder}"), ["trainer.max_steps=13"])
    assert_same(state(whole.folder), state(second.folder))


def test_saved_within_epochs(compose, monkeypatch):
    """A state of any step at which one may be written is one to go on from."""
    saved = []
    original = Persistence.save

    def keeping(self, trainer):
        original(self, trainer)
        saved.append((trainer.global_step, shutil.copytree(self.folder.path, f"{self.folder.path}-{len(saved)}")))

    settings = ["trainer.max_epochs=2", "training.save_every_seconds=1e-9", "trainer.log_every_n_steps=2"]
    with monkeypatch.context() as patch:
        patch.setattr(Persistence, "save", keeping)
        whole = train(compose(*settings))
    steps = [step for step, _ in saved]
    assert steps[:9] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    for index in (1, 6):
        folder = saved[index][1]
        train(compose(f"resume={folder}"), [f"resume={folder}"])
        assert_same_run(whole.folder, type(whole.folder)(folder))


def test_the_best_is_not_forgotten_in_a_moved_folder(compose, monkeypatch, tmp_path):
    """A worse validation after the move doesn't overwrite the best weights."""
    with monkeypatch.context() as patch:
        interrupt_after(patch, 8)
        first = train(compose("trainer.max_epochs=3", "training.optimizer.lr=1e-3"))
    best = state(first.folder, "best")
    moved = tmp_path / "moved"
    shutil.move(first.folder, moved)
    with monkeypatch.context() as patch:
        loss = iter([1e9] * 10)
        patch.setattr(BestCheckpoint, "_monitor_candidates", lambda self, t: {"val/loss": torch.tensor(next(loss))})
        second = train(compose(f"resume={moved}"), [])
    assert second.folder == moved
    assert_same(state(moved, "best"), best)


def test_the_best_of_the_last_validation_is_not_forgotten(compose, monkeypatch):
    """Steps that end within an epoch are validated after the state is written, which doesn't know of it then."""
    endless = ["trainer.max_epochs=null", "training/schedule=constant", "training.ema=null"]
    first = train(compose("trainer.max_steps=8", *endless))
    best = state(first.folder, "best")
    assert best["global_step"] == 8 and state(first.folder)["global_step"] == 8
    early, late = [row["val/loss"] for row in rows(first.folder) if "val/loss" in row]
    assert late < early
    between = {"val/loss": torch.tensor((early + late) / 2)}
    with monkeypatch.context() as patch:
        patch.setattr(BestCheckpoint, "_monitor_candidates", lambda self, trainer: between)
        train(compose(f"resume={first.folder}"), ["trainer.max_steps=12"])
    assert_same(state(first.folder, "best"), best)


@pytest.mark.parametrize("change", ["training.losses.energy.weight=1000.0", "training.monitor=val/forces_mae"])
def test_scores_that_follow_from_other_settings_are_not_compared(compose, change):
    """The kept weights are the best of what was judged as it is now, and the metrics told are theirs."""
    first = train(compose("trainer.max_epochs=3", "training/schedule=constant", "training.early_stopping=4"))
    second = train(compose(f"resume={first.folder}"), ["trainer.max_epochs=4", change])
    last = [row for row in rows(second.folder) if "val/loss" in row][-1]
    assert last["step"] == 20 == state(second.folder, "best")["global_step"]
    assert {name: value for name, value in last.items() if name.startswith("val/")} == second.metrics


def test_falls_back_to_the_state_before(compose, capsys, monkeypatch):
    whole = train(compose("trainer.max_epochs=3", output="whole"))
    with monkeypatch.context() as patch:
        interrupt_after(patch, 8)
        first = train(compose("trainer.max_epochs=3", output="parts"))
    last = RunFolder(first.folder).last_checkpoint
    last.write_bytes(last.read_bytes()[:5000])
    capsys.readouterr()
    train(compose(f"resume={first.folder}"), [])
    said = capsys.readouterr().out
    assert "last.ckpt' can't be read" in said
    assert "Going on from the state before" in said
    assert "Going on from step 5" in said
    assert_same_run(whole.folder, first.folder)


def test_any_damage_is_found(compose):
    """Cut off anywhere, empty, rubbish, missing, something else: the state before is taken; without one it says so."""
    folder = RunFolder(train(compose("trainer.max_epochs=2", "evaluate=false")).folder)
    content, steps = folder.last_checkpoint.read_bytes(), []
    broken = [content[: int(share * len(content))] for share in (0, 0.001, 0.3, 0.9, 0.999)] + [b"x" * 999]
    for damaged in broken:
        folder.last_checkpoint.write_bytes(damaged)
        found = saved_state(folder)
        assert "last.ckpt' can't be read" in found.notes[0]
        steps.append(found.step)
    torch.save({"weights": torch.zeros(3)}, folder.last_checkpoint)
    assert "is no state of a training" in saved_state(folder).notes[0]
    folder.last_checkpoint.unlink()
    assert saved_state(folder).notes == ()
    assert set(steps) == {5}
    folder.previous_checkpoint.write_bytes(b"rubbish")
    with pytest.raises(TrainingError, match=r"(?s)can't be resumed.*previous.ckpt.*Start a new run"):
        train(compose(f"resume={folder.path}"), [])


def test_nothing_in_a_state_is_executed(compose, tmp_path):
    """A pickle that would create a file is refused, and the state before is used."""
    first = train(compose("trainer.max_epochs=2"))

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)

    torch.save(state(first.folder) | {"trap": Trap()}, first.folder / "checkpoints" / "last.ckpt")
    train(compose(f"resume={first.folder}"), ["trainer.max_epochs=3"])
    assert not (tmp_path / "trapped").exists()


def test_finished_says_so_and_what_to_do(compose, capsys):
    first = train(compose("trainer.max_epochs=2"))
    before = {path: path.read_bytes() for path in first.folder.rglob("*") if path.is_file()}
    capsys.readouterr()
    again = train(compose(f"resume={first.folder}"), [f"resume={first.folder}"])
    said = capsys.readouterr().out
    assert "is finished: 2 of 2 epochs" in said
    assert f"resume={first.folder} trainer.max_epochs=4" in said
    assert again.metrics == first.metrics
    assert {path: path.read_bytes() for path in first.folder.rglob("*") if path.is_file()} == before
    with pytest.raises(ConfigError, match="trainer.max_epochs=1, but 2 epochs are done"):
        train(compose(f"resume={first.folder}"), ["trainer.max_epochs=1"])
    longer = train(compose(f"resume={first.folder}"), ["trainer.max_epochs=3"])
    assert state(longer.folder)["global_step"] == 15


def test_killed_while_it_evaluated(compose, monkeypatch, capsys):
    """All steps are done, but the result is not there: it is made."""
    with monkeypatch.context() as patch:
        patch.setattr("eqff.training.run.finish", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(Interrupted):
            train(compose("trainer.max_epochs=2"))
    folder = compose().output
    result = train(compose(f"resume={folder}"), [f"resume={folder}"])
    assert (result.folder / "model.safetensors").is_file()
    assert (result.folder / "result.json").is_file()
    assert result.budget["epochs"] == {"total": 2, "used": 2}
    train(compose(f"resume={folder}"), [f"resume={folder}"])
    assert "is finished: 2 of 2 epochs" in capsys.readouterr().out


def test_a_part_that_was_killed_leaves_no_older_result(compose, monkeypatch, water_file):
    """Else the numbers of the first part would stand under the config of the longer training."""
    tests = f"data.test.again={water_file}"
    first = train(compose("trainer.max_epochs=2", tests))
    assert read_folder(first.folder).state is State.FINISHED and "again" in read_folder(first.folder).errors_by
    with monkeypatch.context() as patch:
        patch.setattr("eqff.training.run.finish", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(Interrupted):
            train(compose(f"resume={first.folder}"), ["trainer.max_epochs=3"])
    run = read_folder(first.folder)
    assert run.state is State.UNFINISHED and run.cost.steps == 15
    assert not run.errors_by and not run.predictions and set(run.sets) == {"val"}
    last = train(compose(f"resume={first.folder}"), [])
    assert read_folder(last.folder).state is State.FINISHED and "again/forces_mae" in last.metrics


def test_a_part_that_was_killed_as_it_began_leaves_the_config_whole(compose, monkeypatch):
    folder = RunFolder(train(compose("trainer.max_epochs=1")).folder)
    before = folder.config.read_text()

    def killed(config, path):
        path.write_text("trai")
        raise SystemExit

    monkeypatch.setattr(OmegaConf, "save", killed)
    with pytest.raises(SystemExit):
        train(compose(f"resume={folder.path}"), ["trainer.max_epochs=2"])
    assert folder.config.read_text() == before


def test_rates_and_decays_can_be_changed(compose):
    """What a state brings doesn't silently overrule the command line."""
    first = train(compose("trainer.max_epochs=1", "training/schedule=constant", "training/optimizer=adamw"))
    overrides = ["trainer.max_epochs=2", "training.optimizer.lr=1e-5", "training.optimizer.weight_decay=0.125"]
    second = train(compose(f"resume={first.folder}"), overrides)
    groups = state(second.folder)["optimizer_states"][0]["param_groups"]
    assert {group["lr"] for group in groups} == {1e-5}
    assert {group["weight_decay"] for group in groups} == {0.125, 0.0}


def test_losses_can_be_switched_off(compose):
    """It was refused, for a reason that was none: that the state belonged to it."""
    first = train(compose("trainer.max_epochs=1"))
    second = train(compose(f"resume={first.folder}"), ["trainer.max_epochs=2", "training.losses.energy=null"])
    early, late = [row for row in read_metrics(second.folder) if "val/loss" in row]
    assert "val/energy_mae" in early and "val/energy_mae" not in late


def test_patience_can_be_changed(compose):
    """The count of validations without a better one goes on; how many there may be is the config's."""
    nothing = ("training/optimizer=sgd", "training.optimizer.lr=1e-30", "training.validations=50")
    first = train(compose("trainer.max_epochs=50", "training.early_stopping=1", *nothing))
    assert sum("val/loss" in row for row in read_metrics(first.folder)) == 2
    train(compose(f"resume={first.folder}"), ["training.early_stopping=4"])
    assert sum("val/loss" in row for row in read_metrics(first.folder)) == 5


def test_refuses_what_has_no_state(compose, tmp_path):
    with pytest.raises(TrainingError, match="can't be resumed"):
        train(compose(f"resume={tmp_path / 'nothing'}"), [])


def test_refuses_another_model(compose):
    first = train(compose("trainer.max_epochs=1"))
    steps = "trainer.accumulate_grad_batches=2"  # an epoch would have another number of them
    parts = ("model.backbone.channels=8", "training.optimizer.name=SGD", "seed=3", "data.batch_size=3", steps)
    # parameters in other groups: their state would be that of others
    grouping = ("training.optimizer.no_decay=[terms.*]", "training.optimizer.groups.a.match=terms.*")
    grouping += ("training.optimizer.amsgrad=true", "training.optimizer.groups.a.amsgrad=true")  # which has more state
    start = ("finetune.freeze=[backbone.*]", "finetune.reference_energies=keep")  # which is over
    for override in (*parts, *grouping, *start):
        with pytest.raises(ConfigError, match="can't be changed on resume"):
            train(compose(f"resume={first.folder}"), [override])
    with pytest.raises(ConfigError, match="'training/losses'.* one by one, as training.losses.forces.weight=20"):
        train(compose(f"resume={first.folder}"), ["training/losses=energy"])
    with pytest.raises(ConfigError, match="'training.ema' can't be switched"):
        train(compose(f"resume={first.folder}"), ["training.ema=null"])
    with pytest.raises(ConfigError, match="no setting 'trainer.max_epoch'"):
        train(compose(f"resume={first.folder}"), ["trainer.max_epoch=8"])


def test_refuses_other_data(compose, water_file, tmp_path):
    mine = tmp_path / "mine.extxyz"
    shutil.copy(water_file, mine)
    first = train(compose("trainer.max_epochs=1", f"data.path={mine}"))
    lines = water_file.read_text().splitlines(keepends=True)
    mine.write_text("".join(lines[:-5]))  # a frame fewer
    with pytest.raises(TrainingError, match="its data has changed"):
        train(compose(f"resume={first.folder}"), ["trainer.max_epochs=2"])


def test_random_state_goes_round():
    before = random_state()
    drawn = torch.rand(3), np.random.normal(size=3).tolist()
    set_random_state(before)
    assert torch.equal(torch.rand(3), drawn[0])
    assert np.random.normal(size=3).tolist() == drawn[1]
