"""The trainings of one round, and the model with uncertainties that comes out."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eqff.active.jobs import Job, run_jobs
from eqff.active.settings import ActiveSettings, Paths
from eqff.active.strategies import NEED_UNCERTAINTY
from eqff.data.reading import read_frames
from eqff.errors import ModelFileError
from eqff.uncertainty.ensemble import Ensemble
from eqff.uncertainty.estimate_file import UNCERTAINTY_FILE, load_estimate, save_estimate
from eqff.uncertainty.fitting import fit_last_layer


def train_round(chosen: ActiveSettings, folder: Path, before: Path | None, inherited: int = -1) -> dict[str, float]:
    """Trains the members of a round that are not trained yet; half-done trainings go on.

    Args:
        chosen: Settings.
        folder: Of the round, with ``train.extxyz``.
        before: Folder of the round before, to begin from; None for fresh weights.
        inherited: See `eqff.active.jobs.run_jobs`.

    Returns:
        Metrics of the kept models, as in their ``result.json``; means over members.

    Raises:
        TrainingError: A training failed.
    """
    jobs = [job for k in range(chosen.committee) if (job := _job(chosen, folder, before, k)) is not None]
    run_jobs(jobs, chosen.launching, inherited=inherited)
    found = [json.loads((member / "result.json").read_text())["metrics"] for member in members(chosen, folder)]
    return {name: sum(each[name] for each in found) / len(found) for name in found[0]}


def members(chosen: ActiveSettings, folder: Path) -> list[Path]:
    """Run folders of a round."""
    return [folder / f"model_{k}" for k in range(chosen.committee)]


def _job(chosen: ActiveSettings, folder: Path, before: Path | None, k: int) -> Job | None:
    """The command that trains a member, or goes on with it; None if it is trained."""
    run = members(chosen, folder)[k]
    result = run / "result.json"
    if result.is_file() and not json.loads(result.read_text())["interrupted"]:
        return None
    words = [f"resume={quoted(run)}"]
    if not any((run / "checkpoints" / name).is_file() for name in ("last.ckpt", "previous.ckpt")):
        shutil.rmtree(run, ignore_errors=True)  # died before it had anything to go on from
        words = [*chosen.train, *_own_overrides(chosen, folder, k)]
        if chosen.begin == "last" and before is not None:
            words += ["finetune=full", f"finetune.model={quoted(members(chosen, before)[k])}"]
    return Job(f"Training {run}", [sys.executable, "-m", "eqff.train", *words], folder / f"model_{k}.log")


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
        f"output={quoted(folder / f'model_{k}')}",
    ]


def quoted(paths: Path | Paths) -> str:
    """Paths as the command line takes them, whatever signs are in them."""
    if isinstance(paths, (str, Path)):
        text = str(paths).replace("\\", "\\\\").replace("'", "\\'")
        return f"'{text}'"
    return f"[{','.join(quoted(path) for path in paths)}]"


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
