"""A sweep from command line to table."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console

from eqff.errors import ConfigError
from eqff.locking import locked
from eqff.outputs import require_writable
from eqff.sweeps.driver import Outcome, run_jobs
from eqff.sweeps.launchers import Ending, Job, Launcher, make_launcher
from eqff.sweeps.planning import Planned, check_runs, default_folder, plan_grid, remember
from eqff.sweeps.progress import Progress, progress
from eqff.sweeps.search import Search
from eqff.sweeps.settings import SweepSettings
from eqff.sweeps.space import Space

LOGS = "logs"
_LOCK = ".lock"
_FAULT = 1  # exit code after an error that would come again


@dataclass(frozen=True)
class SweepResult:
    """What a sweep has left.

    Attributes:
        folder: Of the sweep.
        runs: All of its runs so far.
        unfinished: Names of those that are not finished, to how they ended.
        signal: That told the command to stop; None if none did.
    """

    folder: Path
    runs: tuple[Planned, ...]
    unfinished: dict[str, str]
    signal: int | None = None


class Sweep:
    """Runs what is left of a sweep.

    Args:
        planned: Its runs; none for a search, which finds them as it goes.
        settings: Of the sweep, with a folder, see `with_folder`.
        console: Where it says how it goes.
        search: What finds runs; None where all are planned.

    Raises:
        ConfigError: Something that the launcher needs is not installed, or it doesn't know a setting.
    """

    def __init__(
        self, planned: Sequence[Planned], settings: SweepSettings, console: Console, search: Search | None = None
    ):
        self.planned, self.settings, self.console, self.search = list(planned), settings, console, search
        self.folder = Path(settings.folder or "")
        require_writable(str(self.folder))
        self.launcher: Launcher = make_launcher(settings, self.folder / LOGS)

    def run(self) -> SweepResult:
        """Starts what is left, waits for it, and says what became of it."""
        with locked(self.folder / _LOCK, "command"):
            if self.search is None:
                remember(self.folder, self.planned, asdict(self.settings))
            self._announce()
            outcome = run_jobs(self._jobs(), self.launcher, self._began, self._ended)
        runs = self.planned if self.search is None else self.search.planned()
        return SweepResult(self.folder, tuple(runs), self._unfinished(runs, outcome), outcome.signal)

    def _announce(self) -> None:
        stands = [progress(run.folder) for run in self.planned]
        counts = {kind: stands.count(kind) for kind in Progress}
        text = f"{len(self.planned)} runs" if self.search is None else f"{self.settings.trials} trials"
        more = [f"{count} {kind.value}" for kind, count in counts.items() if count and kind is not Progress.NEW]
        self._say(f"{text} in {self.folder}" + (f": {', '.join(more)}" if more else ""))

    def _jobs(self) -> Iterator[Job]:
        runs = iter(self.planned) if self.search is None else self.search.runs()
        for run in runs:
            if progress(run.folder) is Progress.FINISHED:
                if self.search is not None:
                    self.search.tell(run, failed=False)  # its command was stopped before it had told
                continue
            environment = {}
            if self.search is not None:
                remember(self.folder, [run], asdict(self.settings))
                environment = self.search.environment(run)
            command = (sys.executable, "-m", "eqff.sweeps.one", str(self.folder), run.name)
            yield Job(run.name, command, environment)

    def _began(self, job: Job) -> None:
        resumed = progress(self.folder / job.name) is Progress.STOPPED
        self._say(f"  {'resumed' if resumed else 'started'}  {job.name}")

    def _ended(self, job: Job, ending: Ending) -> None:
        folder = self.folder / job.name
        done = progress(folder) is Progress.FINISHED
        if self.search is not None and (done or ending.code == _FAULT):
            run = next(run for run in self.search.planned() if run.name == job.name)
            self.search.tell(run, failed=not done)
        self._say(f"  finished {job.name}" if done else f"  ended    {job.name}: {ending} (log: {ending.log})")

    def _unfinished(self, runs: Sequence[Planned], outcome: Outcome) -> dict[str, str]:
        left = [run.name for run in runs if progress(run.folder) is not Progress.FINISHED]
        texts = {name: str(outcome.endings[name]) for name in left if name in outcome.endings}
        if self.search is not None:
            return texts  # trials that have failed are part of a search
        return {name: texts.get(name, "in the queue" if name in outcome.left else "not started") for name in left}

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


def make_sweep(space: Space, settings: SweepSettings, console: Console) -> Sweep:
    """The sweep over a space, all its runs checked.

    Args:
        space: What is fixed and what is varied.
        settings: Of the sweep, with a folder, see `with_folder`.
        console: Where it says how it goes.

    Raises:
        ConfigError: A setting of a run doesn't exist or can't be what it is; something is not installed.
    """
    folder = Path(settings.folder or "")
    if settings.search == "grid":
        planned = plan_grid(space, folder)
        check_runs(planned)
        return Sweep(planned, settings, console)
    if not space.keys:
        raise ConfigError("Nothing is varied: give a setting several values or an interval.")
    config = check_runs(corners(space, folder))[0]["training"]
    search = Search(space, settings, folder, config["validations"], config["monitor"])
    return Sweep([], settings, console, search)


def corners(space: Space, folder: Path) -> list[Planned]:
    """A run for every value, and for both ends of intervals: if these can be trained, all can."""
    first = {key: values[0] for key, values in space.axes.items()}
    first |= {key: str(interval.low) for key, interval in space.intervals.items()}
    ends = {key: (str(interval.low), str(interval.high)) for key, interval in space.intervals.items()}
    choices = [first | {key: value} for key, values in {**space.axes, **ends}.items() for value in values]
    return [
        Planned(", ".join(f"{k}={v}" for k, v in choice.items()), tuple(space.overrides(choice)), folder / "trial-0000")
        for choice in choices
    ]


def with_folder(settings: SweepSettings, argv: Sequence[str]) -> SweepSettings:
    """Settings with a folder: the given one, or one whose name follows from the other arguments."""
    if settings.folder is not None:
        return replace(settings, folder=str(Path(settings.folder).expanduser()))
    search = [] if settings.search == "grid" else [f"sweep.search={settings.search}", f"sweep.seed={settings.seed}"]
    return replace(settings, folder=str(default_folder([*argv, *search])))


def exit_code(result: SweepResult) -> int:
    """For the process: 0 only where nothing is left."""
    if result.signal is not None:
        return 128 + result.signal
    return int(bool(result.unfinished))
