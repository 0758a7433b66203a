"""Where the runs of a sweep go: processes of this machine, or jobs of a queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from eqff.sweeps.launchers.jobs import Ending, Handle, Job, Launcher
from eqff.sweeps.settings import SweepSettings

__all__ = ["Ending", "Handle", "Job", "Launcher", "make_launcher"]


def _local(settings: SweepSettings, folder: Path) -> Launcher:
    from eqff.sweeps.launchers.local import LocalLauncher

    return LocalLauncher(folder, settings.workers or 1)


def _slurm(settings: SweepSettings, folder: Path) -> Launcher:
    from eqff.sweeps.launchers.slurm import SlurmLauncher

    return SlurmLauncher(folder, settings.workers, settings.slurm)


_LAUNCHERS: Mapping[str, Callable[[SweepSettings, Path], Launcher]] = {"local": _local, "slurm": _slurm}


def make_launcher(settings: SweepSettings, folder: Path) -> Launcher:
    """The launcher that settings name.

    Args:
        settings: Of the sweep.
        folder: For its logs and locks.

    Raises:
        ConfigError: What it needs is not installed, or it doesn't know a setting.
    """
    return _LAUNCHERS[settings.launcher](settings, folder)
