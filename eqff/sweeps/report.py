"""What a sweep says in the end: the table of its runs, what is not finished, and what can be done with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from eqff.comparison import Comparison, read_runs, write_comparison
from eqff.comparison.texts import terminal
from eqff.errors import DataError
from eqff.sweeps.planning import Planned

if TYPE_CHECKING:
    from eqff.sweeps.running import SweepResult
    from eqff.sweeps.search import Search

FOLDER = "comparison"


def report(result: SweepResult, console: Console, search: Search | None = None) -> None:
    """Compares all runs that have metrics, writes that into the sweep's folder, and says what is left.

    Args:
        result: Of the sweep.
        console: Where it goes.
        search: That has found the runs; None where they were planned.
    """
    comparison = compared(result.runs, search.metric if search else None)
    if comparison is None:
        console.print("No run has metrics yet.", highlight=False)
    else:
        write_comparison(comparison, result.folder / FOLDER)
        console.print(terminal(comparison))
        _say(console, f"Page: {result.folder / FOLDER / 'comparison.html'}")
    if search is not None and (best := search.best()):
        _say(console, best)
    say_what_is_left(result, console, searched=search is not None)


def say_what_is_left(result: SweepResult, console: Console, searched: bool = False) -> None:
    """Which runs are not finished and why; nothing where all are.

    Args:
        result: Of the sweep.
        console: Where it goes.
        searched: Whether runs are trials of a search, which are not repeated once they have failed.
    """
    if result.unfinished:
        _say(console, f"Not finished: {len(result.unfinished)} of {len(result.runs)} runs.")
        for name, reason in result.unfinished.items():
            _say(console, f"  {name}: {reason}")
        stopped = "those that were stopped; failed trials are not repeated" if searched else "them"
        _say(console, f"The same command goes on with {stopped}.")


def compared(runs: Sequence[Planned], sort: str | None = None) -> Comparison | None:
    """The runs that have metrics, side by side; None if none has.

    Args:
        runs: Of a sweep.
        sort: By what rows ascend.
    """
    folders = [run.folder for run in runs if (run.folder / "config.yaml").is_file()]
    try:
        found = read_runs(*folders)
    except DataError:
        return None
    return Comparison(found.runs, sort=sort, problems=found.problems)


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
