"""The command that compares runs: ``python -m eqff.compare RUN...`` or ``eqff-compare``."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqff.errors import ConfigError

if TYPE_CHECKING:
    from eqff.comparison import Comparison

_EXAMPLES = """\
RUN is a run folder, a folder that holds some at any depth, a pattern, a W&B offline folder, or a W&B project:

  python -m eqff.compare runs/a runs/b
  python -m eqff.compare runs/charge_schemes --by data --sort test/forces_mae
  python -m eqff.compare 'runs/*/qeq-*' --metrics 'far/*,forces_rmse' --output comparisons/qeq
  python -m eqff.compare runs/a/wandb/offline-run-20260101_120000-abcdefgh
  python -m eqff.compare entity/project --filters '{"group": "baseline"}'

Runs that differ in their seeds only are one row: mean ± standard deviation over them."""

_OPTIONS = ("output", "by", "metrics", "sort", "seeds", "filters", "workspace")
_WIDTH = 140  # of output that goes into a file
_KEY_VALUE = re.compile(rf"({'|'.join(_OPTIONS)})=(.*)", re.DOTALL)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line; ``KEY=VALUE``, as other commands take settings, is understood too.

    Raises:
        ConfigError: ``--filters`` is no JSON mapping.
    """
    parser = argparse.ArgumentParser(
        prog="eqff.compare",
        description="Puts runs side by side: settings that differ, errors, cost; says what is not comparable.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="see below")
    parser.add_argument("--output", metavar="FOLDER", help="for tables, page and figures; comparisons/DATE_TIME")
    parser.add_argument(
        "--by",
        metavar="KEY,...",
        default="",
        help="tables for each value of settings or sections: data (content), name, model, dtype...",
    )
    parser.add_argument(
        "--metrics",
        metavar="NAME,...",
        default="",
        help="far/forces_mae, forces_mae (all sets), 'test/*'; MAEs on test sets by default",
    )
    parser.add_argument(
        "--sort", metavar="NAME", help="test/forces_mae, forces_mae (first set), or cost (cpu_seconds, parameters...)"
    )
    parser.add_argument(
        "--seeds", metavar="KEY,...", default="seed,data.seed", help="settings in which repetitions differ; %(default)s"
    )
    parser.add_argument("--filters", metavar="JSON", default="{}", help="of W&B projects, as its API takes them")
    parser.add_argument("--no-figures", action="store_true", help="tables only")
    parser.add_argument("--workspace", metavar="NAME", help="save a view of the W&B project that is compared")
    words = [f"--{match[1]}={match[2]}" if (match := _KEY_VALUE.fullmatch(word)) else word for word in argv]
    arguments = parser.parse_args(words)
    for name in ("by", "metrics", "seeds"):
        setattr(arguments, name, [word.strip() for word in getattr(arguments, name).split(",") if word.strip()])
    arguments.filters = _filters(arguments.filters)
    if arguments.workspace and (len(arguments.runs) > 1 or not _is_project(arguments.runs[0])):
        raise ConfigError("--workspace makes a view of one W&B project: give entity/project in place of folders.")
    return arguments


def _is_project(source: str) -> bool:
    """Whether a source names a W&B project: a folder of that name comes first."""
    return source.startswith("wandb:") or (source.count("/") == 1 and not Path(source).exists())


def _filters(text: str) -> dict[str, Any]:
    try:
        filters = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f'--filters is no JSON ({error}). Give for example \'{{"group": "baseline"}}\'.') from error
    if not isinstance(filters, dict):
        raise ConfigError(f'--filters must be a JSON mapping such as \'{{"group": "baseline"}}\', not {text}.')
    return filters


def compare(arguments: argparse.Namespace) -> Comparison:
    """Reads runs, compares them and writes everything.

    Args:
        arguments: As `parse` gives them.

    Raises:
        EqffError: No run can be read, a name is unknown, or nothing can be written at the output.
    """
    from eqff.comparison import Comparison, read_runs, write_comparison
    from eqff.outputs import require_writable

    arguments.output = arguments.output or f"comparisons/{datetime.now():%Y-%m-%d_%H-%M-%S}"
    require_writable(arguments.output)
    found = read_runs(*arguments.runs, filters=arguments.filters)
    comparison = Comparison(
        found.runs,
        by=arguments.by,
        metrics=arguments.metrics or None,
        sort=arguments.sort,
        seeds=arguments.seeds,
        problems=found.problems,
    )
    write_comparison(comparison, arguments.output, figures=not arguments.no_figures)
    return comparison


def _from_command_line(argv: Sequence[str]) -> None:
    arguments = parse(argv)
    comparison = compare(arguments)
    from rich.console import Console

    from eqff.comparison.texts import terminal

    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    console.print(terminal(comparison))
    page = Path(arguments.output).expanduser() / "comparison.html"
    console.print(f"Page: {page}\nTables and figures: {arguments.output}", soft_wrap=True, highlight=False)
    if arguments.workspace:
        console.print(f"View: {_save_view(arguments, comparison)}", soft_wrap=True, highlight=False)


def _save_view(arguments: argparse.Namespace, comparison: Comparison) -> str:
    """Saves a view of the W&B project; its address."""
    from eqff.tracking.workspace import save_workspace

    metrics = dict.fromkeys(name for group in comparison.groups for name in group.metrics)
    units = {name: unit for run in comparison.runs for name, unit in run.units.items()}
    return save_workspace(arguments.runs[0], arguments.workspace, list(metrics), units)


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    from eqff.command_line.run import without_traceback

    without_traceback(_from_command_line, sys.argv[1:] if argv is None else list(argv))


if __name__ == "__main__":
    main()
