"""A whole training that is a trial of a search and falls behind: it ends early, in good order, and counts as pruned."""

import json

import pytest

from eqff.comparison import State
from eqff.comparison.folders import read_folder
from eqff.sweeps.progress import Progress, progress, result_of
from eqff.sweeps.search import Search
from eqff.sweeps.settings import SweepSettings
from eqff.sweeps.space import read_space
from eqff.sweeps.trials import VARIABLE
from eqff.train import train

optuna = pytest.importorskip("optuna")

VALIDATIONS, EPOCHS = 8, 8


@pytest.fixture
def search(tmp_path):
    """Its first four trials were better than any training is."""
    chosen = SweepSettings(search="random", trials=5, pruner="median")
    search = Search(read_space(["seed=int(interval(0,9))"]), chosen, tmp_path / "search", VALIDATIONS, "val/loss")
    for run, _ in zip(search.runs(), range(4), strict=False):
        trial = optuna.trial.Trial(search.study, search.study.get_trials()[int(run.name[-4:])]._trial_id)
        for place in range(VALIDATIONS + 1):
            trial.report(1e-9, place)
        search.study.tell(trial, 1e-9)
    return search


def steps(run):
    return result_of(run.folder)["step"]


def test_it_ends_early_and_says_so(search, compose, tmp_path, monkeypatch):
    run = next(search.runs())
    assert run.name == "trial-0004"
    monkeypatch.setenv(VARIABLE, search.environment(run)[VARIABLE])
    own = [f"trainer.max_epochs={EPOCHS}", f"training.validations={VALIDATIONS}"]
    result = train(compose(*own, output=run.folder.relative_to(tmp_path)))
    assert result.folder == run.folder and not result.interrupted
    assert 0 < steps(run) < 5 * EPOCHS
    assert json.loads((run.folder / "pruned.json").read_text())["step"] == steps(run)
    assert (run.folder / "model.safetensors").is_file() and progress(run.folder) is Progress.FINISHED
    search.tell(run, failed=False)
    states = [trial.state.name for trial in search.study.get_trials()]
    assert states == [*4 * ["COMPLETE"], "PRUNED"] and list(search.runs()) == []
    assert read_folder(run.folder).state is State.PRUNED
    places = search.study.get_trials()[4].intermediate_values
    assert max(places) < VALIDATIONS and min(places) >= 1


def test_trained_on_it_counts_as_any_other(search, compose, tmp_path, monkeypatch):
    run = next(search.runs())
    output = run.folder.relative_to(tmp_path)
    with monkeypatch.context() as patched:
        patched.setenv(VARIABLE, search.environment(run)[VARIABLE])
        train(compose(f"trainer.max_epochs={EPOCHS}", f"training.validations={VALIDATIONS}", output=output))
    short = steps(run)
    train(compose(f"resume={run.folder}"), [f"resume={run.folder}", f"trainer.max_epochs={EPOCHS}"])
    assert steps(run) == 5 * EPOCHS > short
    assert read_folder(run.folder).state is State.FINISHED
