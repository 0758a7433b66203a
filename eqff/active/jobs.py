"""Commands that the loop runs as jobs of the engine of sweeps: processes of this machine, or jobs of a queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from eqff.errors import EqffError, TrainingError
from eqff.ranges import Count
from eqff.sweeps import driver
from eqff.sweeps.launchers import Ending, Job, make_launcher
from eqff.sweeps.settings import SweepSettings

_SHOWN = 12  # lines of a log that a message repeats


@dataclass(frozen=True)
class Launch:
    """Where commands run, see `eqff.sweeps.settings.SweepSettings`.

    Attributes:
        launcher: "local" (processes on this machine) or "slurm" (jobs of a queue, through submitit).
        workers: How many at a time; None for one on this machine, for all of them on a queue.
        slurm: What a job asks for: ``timeout_min``, ``partition``, ``gpus_per_node``...
    """

    launcher: Literal["local", "slurm"] = "local"
    workers: Count | None = None
    slurm: Mapping[str, Any] = field(default_factory=dict)


def run_jobs(
    jobs: Sequence[Job], launch: Launch, folder: Path, error: type[EqffError] = TrainingError
) -> dict[str, Ending]:
    """Runs commands until all have ended. One that still runs from an earlier try is waited for, not started again.

    Args:
        jobs: In their order.
        launch: Where.
        folder: For their logs and locks.
        error: Kind of what is raised.

    Returns:
        Those of which it is not known whether they have done their work: they were started by an earlier try, or the
        queue has ended them.

    Raises:
        EqffError: One could not be started, or ended with another exit code than 0; the message has its last lines.
        SystemExit: A signal told this command to stop; local jobs have saved and ended.
    """
    launcher = make_launcher(
        SweepSettings(launcher=launch.launcher, workers=launch.workers, slurm=launch.slurm), folder
    )
    try:
        outcome = driver.run_jobs(iter(jobs), launcher)
    except (FileNotFoundError, PermissionError) as problem:
        raise error(f"'{problem.filename}' can't be run ({problem.strerror}). Check the command.") from problem
    if outcome.signal is not None:
        raise SystemExit(128 + outcome.signal)
    for name, ending in outcome.endings.items():
        if ending.code not in (0, None):
            raise error(_died(name, ending))
    return {name: ending for name, ending in outcome.endings.items() if ending.code is None}


def _died(name: str, ending: Ending) -> str:
    text = ending.log.read_text(encoding="utf-8", errors="replace") if ending.log.is_file() else ""
    lines = [line for line in text.splitlines() if line.strip()][-_SHOWN:]
    shown = "\n".join(f"  {line}" for line in lines) or "  (it said nothing)"
    return f"'{name}' failed: {ending}. Its last lines ({ending.log}):\n{shown}"
