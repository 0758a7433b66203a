"""A search with Optuna: which run comes next follows from how those before have ended."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eqff.errors import ConfigError
from eqff.sweeps.planning import Planned
from eqff.sweeps.progress import result_of, was_pruned
from eqff.sweeps.settings import SweepSettings
from eqff.sweeps.space import Interval, Space
from eqff.sweeps.trials import NAME, VARIABLE, journal, optuna_module, written_trial

if TYPE_CHECKING:
    import optuna

_RECKONED_AFTER = 0.25  # share of the validations before which no trial is ended
_FIRST = 4  # trials that are not ended, to have something to compare with
_ASKED = "asked"  # attribute of a study: what the search is over


def check_metric(metric: str, space: Space) -> None:
    """Refuses to search by the validation loss where the losses themselves are varied: small weights would win.

    Raises:
        ConfigError: Names the setting, and a remedy.
    """
    varied = [key for key in space.keys if key.lstrip("+").replace("/", ".").startswith("training.losses")]
    if metric == "val/loss" and varied:
        raise ConfigError(
            f"sweep.metric: val/loss is another quantity in each run, because {', '.join(varied)} is varied. Give an "
            "error to make small, for example sweep.metric=val/forces_mae."
        )


class Search:
    """The trials of a sweep, kept in a journal in its folder, so that a search goes on where it was stopped.

    Args:
        space: What is varied.
        settings: Of the sweep.
        folder: Of the sweep.
        validations: How many validations a run has at most.
        monitor: What is made small, where the settings say nothing.

    Raises:
        ConfigError: Optuna is not installed, the metric means something else in each run, or the folder holds a search
            over something else.
    """

    def __init__(self, space: Space, settings: SweepSettings, folder: Path, validations: int, monitor: str):
        optuna = optuna_module("sweep.search=" + settings.search)
        self.space, self.settings, self.folder = space, settings, folder
        self.metric = settings.metric or monitor
        check_metric(self.metric, space)
        folder.mkdir(parents=True, exist_ok=True)
        self.validations = validations
        self.study = optuna.create_study(
            storage=journal(folder),
            study_name=NAME,
            sampler=_sampler(settings, 0),
            pruner=make_pruner(settings.pruner, validations),
            direction="minimize",
            load_if_exists=True,
        )
        self._require_same()

    def runs(self) -> Iterator[Planned]:
        """Runs that were stopped, then new ones, each chosen when it is asked for."""
        states = optuna_module().trial.TrialState
        for trial in self.study.get_trials(states=(states.RUNNING,)):
            if set(trial.params) == set(self.space.keys):
                yield self._planned(trial.number, trial.params)
            else:  # the command was killed while it chose them
                self.study.tell(trial.number, state=states.FAIL)
        while (number := len(self.study.get_trials(deepcopy=False))) < (self.settings.trials or 0):
            self.study.sampler = _sampler(self.settings, number)
            trial = self.study.ask()
            values = {key: trial.suggest_categorical(key, list(axis)) for key, axis in self.space.axes.items()}
            values |= {key: _suggest(trial, key, interval) for key, interval in self.space.intervals.items()}
            yield self._planned(trial.number, values)

    def environment(self, run: Planned) -> dict[str, str]:
        """By which a run's training knows of its trial, and ends itself if it falls behind."""
        if self.settings.pruner == "none":
            return {}
        return {
            VARIABLE: written_trial(self.folder, _number(run.name), self.metric, self.settings.pruner, self.validations)
        }

    def tell(self, run: Planned, failed: bool) -> None:
        """What came out of a run.

        Args:
            run: It.
            failed: Whether it ended with an error, so that it would do so again.
        """
        states, number = optuna_module().trial.TrialState, _number(run.name)
        value = result_of(run.folder).get("metrics", {}).get(self.metric)
        if was_pruned(run.folder):
            self.study.tell(number, state=states.PRUNED, skip_if_finished=True)
        elif failed:
            self.study.tell(number, state=states.FAIL, skip_if_finished=True)
        elif value is None:
            known = ", ".join(sorted(result_of(run.folder).get("metrics", {})))
            raise ConfigError(f"sweep.metric: {run.folder} has no '{self.metric}'. It has {known}.")
        elif math.isfinite(value):
            self.study.tell(number, value, skip_if_finished=True)
        else:
            self.study.tell(number, state=states.FAIL, skip_if_finished=True)

    def planned(self) -> list[Planned]:
        """The runs of all trials so far."""
        return [self._planned(trial.number, trial.params) for trial in self.study.get_trials(deepcopy=False)]

    def best(self) -> str:
        """The best trial so far, in a sentence; empty where none has ended."""
        states = optuna_module().trial.TrialState
        done = self.study.get_trials(deepcopy=False, states=(states.COMPLETE,))
        if not done:
            return ""
        best = min(done, key=lambda trial: trial.value)
        values = " ".join(f"{key}={value}" for key, value in best.params.items())
        return (
            f"Best of {len(done)} finished trials: {_name(best.number)}, {self.metric} {best.value:.6g} with {values}"
        )

    def _require_same(self) -> None:
        """Keeps what is searched in the study; raises ConfigError where another search is there.

        Another metric may be taken as long as no trial was judged by the one before.
        """
        intervals = {key: list(vars(interval).values()) for key, interval in self.space.intervals.items()}
        varied = {key: list(values) for key, values in self.space.axes.items()} | intervals
        own = {"fixed": sorted(self.space.fixed), "varied": varied, "metric": self.metric}
        known = self.study.user_attrs.get(_ASKED, own)
        states = optuna_module().trial.TrialState
        judged = self.study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED))
        differing = [name for name in own if known[name] != own[name] and (judged or name != "metric")]
        if differing:
            name = differing[0]
            raise ConfigError(
                f"'{self.folder}' holds another search, in which '{name}' is {known[name]}, not {own[name]}. Give "
                "another sweep.folder."
            )
        if known != own or _ASKED not in self.study.user_attrs:
            self.study.set_user_attr(_ASKED, own)

    def _planned(self, number: int, values: Mapping[str, Any]) -> Planned:
        choice = {key: str(value) for key, value in values.items()}
        return Planned(_name(number), tuple(self.space.overrides(choice)), self.folder / _name(number))


def _name(number: int) -> str:
    return f"trial-{number:04d}"


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])


def _suggest(trial: optuna.trial.Trial, key: str, interval: Interval) -> float | int:
    suggest = trial.suggest_int if interval.whole else trial.suggest_float
    return suggest(key, interval.low, interval.high, log=interval.logarithmic)


def _sampler(settings: SweepSettings, number: int) -> optuna.samplers.BaseSampler:
    """Of one trial: a sampler of all would begin again with its first draws whenever a stopped search goes on."""
    optuna, seed = optuna_module(), int(np.random.SeedSequence([settings.seed, number]).generate_state(1)[0])
    samplers = {
        # constant_liar: trials that run at the same time are not to be chosen near each other
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, constant_liar=True),
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
    }
    return samplers[settings.search]()


def make_pruner(name: str, validations: int) -> optuna.pruners.BasePruner:
    """What decides which trials fall behind.

    Args:
        name: "none", "median" or "hyperband".
        validations: In a whole training; a trial's place in its training is counted in them.
    """
    pruners = optuna_module().pruners
    made = {
        "none": pruners.NopPruner,
        "median": lambda: pruners.MedianPruner(_FIRST, n_warmup_steps=math.ceil(_RECKONED_AFTER * validations)),
        "hyperband": lambda: pruners.HyperbandPruner(max(1, validations // 9), max_resource=validations),
    }
    return made[name]()
