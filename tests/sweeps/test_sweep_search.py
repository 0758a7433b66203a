"""A search: it goes on where it was stopped, and ends trials that fall behind. Trainings are given by their files."""

import json
import sys
from types import SimpleNamespace

import pytest
import torch

from eqff.comparison import State
from eqff.errors import ConfigError
from eqff.sweeps.search import Search
from eqff.sweeps.settings import SweepSettings
from eqff.sweeps.space import read_space
from eqff.sweeps.trials import VARIABLE, current_trial, optuna_module
from eqff.tracking.run_folder import RunFolder
from eqff.training.callbacks.trial import TrialReport, trial_report

optuna = pytest.importorskip("optuna")

SPACE = ["x=interval(-2,2)", "kind=a,b"]


def searched(folder, trials=12, **settings):
    chosen = SweepSettings(**{"search": "tpe", "trials": trials} | settings)
    return Search(read_space(["fixed=1", *SPACE]), chosen, folder, validations=10, monitor="val/loss")


def value_of(run):
    values = dict(text.split("=") for text in run.overrides[1:])
    return float(values["x"]) ** 2 + (values["kind"] == "b")


def train(run, **result):
    run.folder.mkdir(parents=True)
    (run.folder / "result.json").write_text(json.dumps({"metrics": {"val/loss": value_of(run)}, **result}))


def finish(search, count):
    runs = search.runs()
    for _ in range(count):
        run = next(runs)
        train(run)
        search.tell(run, failed=False)
    return runs


def test_a_search_over_losses_needs_another_metric(tmp_path):
    space, chosen = read_space(["training.losses.forces.weight=interval(1,9)"]), {"search": "tpe", "trials": 3}
    with pytest.raises(ConfigError, match="training.losses.forces.weight is varied"):
        Search(space, SweepSettings(**chosen), tmp_path, validations=10, monitor="val/loss")
    Search(space, SweepSettings(**chosen, metric="val/forces_mae"), tmp_path, validations=10, monitor="val/loss")


def test_a_search_goes_on_where_it_was_stopped(tmp_path):
    runs = finish(searched(tmp_path), 5)
    stopped = next(runs)  # was asked for, and killed
    again = searched(tmp_path)
    first = next(again.runs())
    assert first == stopped
    train(first)
    again.tell(first, failed=False)
    rest = list(finish(again, 6))
    assert rest == [] and len(again.planned()) == 12
    names = [run.folder.name for run in again.planned()]
    assert names == [f"trial-{number:04d}" for number in range(12)]
    assert all(run.overrides[0] == "fixed=1" for run in again.planned())


@pytest.mark.parametrize("kind", ["tpe", "random"])
def test_a_stopped_search_chooses_as_one_that_was_not(kind, tmp_path):
    finish(searched(tmp_path / "whole", search=kind), 8)
    for count in (3, 5):
        finish(searched(tmp_path / "parts", search=kind), count)
    found = (searched(tmp_path / name, search=kind).planned() for name in ("whole", "parts"))
    whole, parts = ([run.overrides for run in runs] for runs in found)
    assert parts == whole and len(set(whole)) == 8


def test_the_best_is_named_and_failures_are_left_out(tmp_path):
    search = searched(tmp_path, trials=4)
    runs = search.runs()
    good, diverged, failed = next(runs), next(runs), next(runs)
    train(good)
    search.tell(good, failed=False)
    diverged.folder.mkdir()
    (diverged.folder / "result.json").write_text('{"metrics": {"val/loss": NaN}}')
    search.tell(diverged, failed=False)
    search.tell(failed, failed=True)
    assert search.best().startswith("Best of 1 finished trials: trial-0000, val/loss ")
    states = [trial.state for trial in search.study.get_trials()]
    assert states == [optuna.trial.TrialState.COMPLETE] + 2 * [optuna.trial.TrialState.FAIL]


def test_a_metric_that_runs_do_not_have(tmp_path):
    search = searched(tmp_path, metric="val/forcess_mae")
    run = next(search.runs())
    train(run)
    with pytest.raises(ConfigError, match=r"has no 'val/forcess_mae'. It has val/loss"):
        search.tell(run, failed=False)


@pytest.mark.parametrize(
    ("argv", "settings", "word"),
    [
        (["fixed=2", *SPACE], {}, "fixed"),
        (["fixed=1", SPACE[0], "kind=a,b,c"], {}, "varied"),
        (["fixed=1", "x=interval(-2,3)", SPACE[1]], {}, "varied"),
        (["fixed=1", *SPACE], {"metric": "val/forces_mae"}, "metric"),
    ],
)
def test_a_folder_holds_one_search(argv, settings, word, tmp_path):
    finish(searched(tmp_path), 1)
    chosen = SweepSettings(search="tpe", trials=20, **settings)
    with pytest.raises(ConfigError, match=f"holds another search, in which '{word}' is"):
        Search(read_space(argv), chosen, tmp_path, validations=10, monitor="val/loss")
    assert len(searched(tmp_path, trials=20).planned()) == 1  # more trials are no other search


def test_another_metric_may_be_taken_before_any_trial_was_judged(tmp_path):
    next(searched(tmp_path, metric="val/forcess_mae").runs())
    assert searched(tmp_path).study.user_attrs["asked"]["metric"] == "val/loss"


def test_a_trial_without_all_its_values_is_not_trained(tmp_path):
    search = searched(tmp_path)
    search.study.ask().suggest_float("x", -2.0, 2.0)  # killed before the other
    run = next(searched(tmp_path).runs())
    assert run.name == "trial-0001" and len(run.overrides) == 3


def test_a_queue_that_takes_all_at_once_leaves_nothing_to_choose_by():
    with pytest.raises(ConfigError, match="give sweep.workers"):
        SweepSettings(search="tpe", trials=9, launcher="slurm")


def validate(report, value, step=7):
    """A validation, as the trainer calls it; whether it ends the training."""
    trainer = SimpleNamespace(
        callback_metrics={"val/loss": torch.tensor(value)},
        is_global_zero=True,
        should_stop=False,
        global_step=step,
        strategy=SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision),
    )
    report.on_validation_end(trainer, None)
    return trainer.should_stop


def test_a_trial_that_falls_behind_is_ended_and_says_so(tmp_path, monkeypatch):
    search = searched(tmp_path, pruner="median")
    runs, ended = search.runs(), []
    for number in range(6):
        run = next(runs)
        run.folder.mkdir(parents=True)
        monkeypatch.setenv(VARIABLE, search.environment(run)[VARIABLE])
        place = iter([0.2, 0.5, 1.0])
        progress = {"now": 0.0}
        (report,) = trial_report(RunFolder(run.folder), lambda p=progress: p["now"], 10)
        for share in place:
            progress["now"] = share
            if validate(report, 1.0 if number < 5 else 9.0):
                ended.append((number, share))
                break
        (run.folder / "result.json").write_text(json.dumps({"metrics": {"val/loss": 1.0}, "step": 7}))
        search.tell(run, failed=False)
    assert ended == [(5, 0.5)]  # the first four are not judged, nor is the first quarter of a training
    states = [trial.state for trial in search.study.get_trials()]
    assert states == 5 * [optuna.trial.TrialState.COMPLETE] + [optuna.trial.TrialState.PRUNED]
    assert json.loads((run.folder / "pruned.json").read_text())["step"] == 7


def test_a_resumed_training_reports_nothing_twice(tmp_path):
    search = searched(tmp_path, pruner="median")
    trial = search.study.ask()
    report = TrialReport(trial, "val/loss", RunFolder(tmp_path), lambda: 0.3, 10)
    validate(report, 1.0)
    validate(report, 2.0)
    assert search.study.get_trials()[0].intermediate_values == {3: 1.0}


def test_outside_of_a_search_nothing_is_reported(monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert current_trial() is None and trial_report(RunFolder(tmp_path), lambda: 0.0, 10) == []


def test_optuna_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"sweep.search=tpe needs optuna.*pip install 'eqff\[sweep\]'"):
        optuna_module("sweep.search=tpe")


@pytest.mark.parametrize(("step", "state"), [(7, State.PRUNED), (6, State.FINISHED)])
def test_a_comparison_does_not_rank_what_was_ended(step, state):
    from eqff.comparison.folders import _state

    assert _state({"step": 7}, {"step": step}) is state


@pytest.mark.parametrize(("step", "state"), [(7, "PRUNED"), (6, "COMPLETE")])
def test_a_trial_that_was_trained_on_counts_as_finished(step, state, tmp_path):
    search = searched(tmp_path)
    run = next(search.runs())
    train(run, step=7)
    (run.folder / "pruned.json").write_text(json.dumps({"step": step}))
    search.tell(run, failed=False)
    assert search.study.get_trials()[0].state.name == state
