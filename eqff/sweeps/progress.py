"""How far a run of a sweep is, as its folder says, and the command that does what is left."""

from __future__ import annotations

import json
import os
import shutil
import sys
from enum import Enum
from pathlib import Path
from typing import Any

from eqff.sweeps.planning import Planned
from eqff.tracking.run_folder import RunFolder
from eqff.tracking.run_format import PRUNED, ended_by_search
from eqff.training.finetuning.command_line import written


class Progress(Enum):
    """What is left to do."""

    NEW = "new"
    STOPPED = "stopped"  # and has a state to go on from
    FINISHED = "finished"


def progress(folder: Path) -> Progress:
    """How far a run is."""
    run = RunFolder(folder)
    result = result_of(folder)
    if result and not result.get("interrupted"):
        return Progress.FINISHED
    return Progress.STOPPED if any(state.is_file() for state in run.states) else Progress.NEW


def result_of(folder: Path) -> dict[str, Any]:
    """``result.json`` of a run; empty if there is none that can be read."""
    return _content(folder / "result.json")


def was_pruned(folder: Path) -> bool:
    """Whether a run was ended by its search, because it fell behind."""
    return ended_by_search(result_of(folder), _content(folder / PRUNED))


def _content(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def command_for(run: Planned) -> list[str]:
    """What to start for a run that is not finished.

    What a run has left that was stopped before its first state is of no use and in the way: it is removed.
    """
    train = [sys.executable, "-m", "eqff.train"]
    if progress(run.folder) is Progress.STOPPED:
        return [*train, f"resume={written(str(run.folder))}"]
    if _useless(run.folder) and os.environ.get("SLURM_PROCID", "0") == "0":
        shutil.rmtree(run.folder)
    return [*train, *run.overrides, f"output={written(str(run.folder))}"]


def _useless(folder: Path) -> bool:
    """Whether a folder is that of a run, or empty, as a run's is before it has its config."""
    return folder.is_dir() and ((folder / "config.yaml").is_file() or not any(folder.iterdir()))
