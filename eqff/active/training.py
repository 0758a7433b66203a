"""The trainings of one round, and the model with uncertainties that comes out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eqff.active.jobs import run_jobs
from eqff.active.settings import ActiveSettings, Paths
from eqff.active.strategies import NEED_UNCERTAINTY
from eqff.data.reading import read_frames
from eqff.errors import ModelFileError, TrainingError
from eqff.sweeps.launchers import Job
from eqff.sweeps.planning import Planned, check_runs, remember
from eqff.sweeps.progress import Progress, progress, result_of
from eqff.training.finetuning.command_line import written
from eqff.uncertainty.ensemble import Ensemble
from eqff.uncertainty.estimate_file import UNCERTAINTY_FILE, load_estimate, save_estimate
from eqff.uncertainty.fitting import fit_last_layer

_TRIES = 3  # one waits for what a killed loop had started, one goes on with it, one finds all done


def check_training(chosen: ActiveSettings, folder: Path) -> None:
    """Raises ConfigError if the settings given for trainings can't be, before anything is labelled for them."""
    if chosen.train:
        check_runs([_planned(chosen, folder, None, 0)])


def train_round(chosen: ActiveSettings, folder: Path, before: Path | None) -> dict[str, float]:
    """Trains the members of a round that are not trained yet; half-done trainings go on.

    Args:
        chosen: Settings.
        folder: Of the round, with ``train.extxyz``.
        before: Folder of the round before, to begin from; None for fresh weights.

    Returns:
        Metrics of the kept models, as in their ``result.json``; means over members.

    Raises:
        TrainingError: A training failed.
    """
    runs = [_planned(chosen, folder, before, k) for k in range(chosen.committee)]
    remember(folder, runs, {})
    for _ in range(_TRIES):
        left = [run for run in runs if progress(run.folder) is not Progress.FINISHED]
        if not left:
            break
        words = (sys.executable, "-m", "eqff.sweeps.one", str(folder))
        run_jobs([Job(run.name, (*words, run.name)) for run in left], chosen.launching, folder)
    else:
        raise TrainingError(f"{left[0].name} in {folder} ends without being finished. Look at its log there.")
    found = [result_of(run.folder)["metrics"] for run in runs]
    return {name: sum(each[name] for each in found) / len(found) for name in found[0]}


def members(chosen: ActiveSettings, folder: Path) -> list[Path]:
    """Run folders of a round."""
    return [folder / f"model_{k}" for k in range(chosen.committee)]


def _planned(chosen: ActiveSettings, folder: Path, before: Path | None, k: int) -> Planned:
    """A member's training as a run of a sweep."""
    run = members(chosen, folder)[k]
    overrides = [*chosen.train, *_own_overrides(chosen, folder, k)]
    if chosen.begin == "last" and before is not None:
        overrides += ["finetune=full", f"finetune.model={quoted(members(chosen, before)[k])}"]
    return Planned(run.name, tuple(overrides), run)


def _own_overrides(chosen: ActiveSettings, folder: Path, k: int) -> list[str]:
    tests = [f"data.test.{name}={quoted(paths)}" for name, paths in chosen.test.items()]
    states = {"total_charge": chosen.total_charge, "multiplicity": chosen.multiplicity}
    return [
        f"data.path={quoted(folder / 'train.extxyz')}",
        f"data.val={quoted(chosen.held_back)}",
        *(tests or ["data.test={}"]),
        *(f"data.{name}={value}" for name, value in states.items() if value is not None),
        *([f"packages=[{','.join(chosen.packages)}]"] if chosen.packages else []),
        f"seed={chosen.seed + k}",
        f"data.seed={chosen.seed + k}",
        f"name={folder.name}_model_{k}",
    ]


def quoted(paths: Path | Paths) -> str:
    """Paths as the command line takes them, whatever signs are in them."""
    return written(list(paths) if not isinstance(paths, (str, Path)) else str(paths))


def model_of_round(chosen: ActiveSettings, folder: Path) -> Any:
    """The model by which the next structures are chosen: an ensemble, or one with its last-layer estimate."""
    runs, packages = members(chosen, folder), tuple(chosen.packages)
    if len(runs) > 1:
        return Ensemble.load(runs, packages=packages)
    if chosen.strategy not in NEED_UNCERTAINTY and chosen.simulate is None:
        from eqff.registry.loading import load

        return load(runs[0], packages=packages)
    path = runs[0] / UNCERTAINTY_FILE
    try:
        return load_estimate(path, packages=packages)
    except (ModelFileError, FileNotFoundError):
        return _fitted(chosen, folder, path)


def _fitted(chosen: ActiveSettings, folder: Path, path: Path) -> Any:
    from eqff.registry.loading import load

    sets: list[Sequence[Any]] = [read_frames(f, **chosen.reading) for f in (folder / "train.extxyz", chosen.held_back)]
    estimate = fit_last_layer(load(path.parent, packages=tuple(chosen.packages)), *sets, samples=chosen.samples)
    save_estimate(path, estimate)
    return estimate
