"""A comparison for the terminal, and as Markdown and CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from typing import Any

from rich.console import Group as Rendered
from rich.table import Table as RichTable
from rich.text import Text

from eqff.comparison.choosing import COSTS, all_metrics
from eqff.comparison.comparison import Comparison, Group
from eqff.comparison.run import State
from eqff.comparison.settings import ABSENT, BOOKKEEPING, data_name, differing
from eqff.comparison.tables import COST_TITLES, SETTINGS, Cell, Table

LEGEND = (
    "Bold: lowest of its column among finished runs. ± : standard deviation over the n runs of a row, which differ in "
    "their seeds only."
)
NOT_COMPARABLE = "Not comparable"
BY_DATA = "These runs saw different training data; --by data gives tables for each."


def summary(comparison: Comparison) -> str:
    """How much was compared, in a sentence."""
    groups = comparison.groups
    runs, rows = sum(len(group.runs) for group in groups), sum(len(group.rows) for group in groups)
    parts = [f"{runs} run{'s' * (runs != 1)}", f"{rows} row{'s' * (rows != 1)}"]
    unfinished = sum(run.state is not State.FINISHED for group in groups for run in group.runs)
    open_ones = f", {unfinished} of them not finished" if unfinished else ""
    return f"{parts[0]}{open_ones} in {parts[1]}" + (f" of {len(groups)} tables." if len(groups) > 1 else ".")


def warnings(group: Group) -> list[str]:
    """What makes runs of a group no comparison, in sentences."""
    lines = [f"{NOT_COMPARABLE}: {difference}" for difference in group.differences]
    if any(difference.what == "training data" for difference in group.differences):
        lines.append(BY_DATA)
    return lines


def terminal(comparison: Comparison) -> Rendered:
    """For ``rich.print``."""
    shown: list[Any] = []
    for group in comparison.groups:
        if group.title:
            shown.append(Text(f"\n{group.title}", style="bold underline"))
        shown += [Text(line, style="bold yellow") for line in warnings(group)]
        shown += [rich_table(_narrow(table)) for table in group.tables()]
        shown += [Text(note) for note in group.notes]
    return Rendered(*shown, *(Text(note) for note in comparison.notes()), Text(LEGEND, style="dim"))


def _narrow(table: Table) -> Table:
    """A table of settings in two columns, because terminals are narrow; other tables as they are."""
    if table.title != SETTINGS:
        return table
    rows = []
    for label, *cells in table.rows:
        present = [f"{name}={cell.text}" for name, cell in zip(table.columns[1:], cells, strict=True)]
        kept = [text for text, cell in zip(present, cells, strict=True) if cell.text != ABSENT]
        rows.append((label, Cell(", ".join(kept) or ABSENT)))
    return Table(table.title, ("run", "settings"), tuple(rows))


def rich_table(table: Table) -> RichTable:
    """A table for the terminal."""
    result = RichTable(title=table.title, title_justify="left")
    numeric = numeric_columns(table)
    for column, right in zip(table.columns, numeric, strict=True):
        result.add_column(Text(column), justify="right" if right else "left", overflow="fold")
    for row in table.rows:
        result.add_row(*(Text(cell.text, style="bold green" if cell.best else "") for cell in row))
    return result


def numeric_columns(table: Table) -> list[bool]:
    """Which columns hold numbers."""
    return [any(row[index].value is not None for row in table.rows) for index in range(len(table.columns))]


def markdown(comparison: Comparison, figures: Sequence[Sequence[str]] = ()) -> str:
    """For a report.

    Args:
        comparison: To write.
        figures: For each group, the figures' files relative to the report.
    """
    blocks = ["# Comparison", summary(comparison), LEGEND]
    for index, group in enumerate(comparison.groups):
        blocks += [f"## {group.title}"] if group.title else []
        blocks += [f"**{line}**" for line in warnings(group)]
        for table in group.tables():
            blocks += [f"### {table.title}", markdown_table(table)]
        blocks += ["\n".join(f"- {note}" for note in group.notes)] if group.notes else []
        files = figures[index] if index < len(figures) else ()
        blocks += [f"![{file.rpartition('/')[2].rpartition('.')[0].replace('_', ' ')}]({file})" for file in files]
    blocks += ["\n".join(f"- {note}" for note in comparison.notes())] if comparison.notes() else []
    return "\n\n".join(blocks) + "\n"


def markdown_table(table: Table) -> str:
    """A table."""
    rule = "|".join("---:" if right else "---" for right in numeric_columns(table))
    lines = [f"| {' | '.join(map(_escaped, table.columns))} |", f"|{rule}|"]
    for row in table.rows:
        cells = [f"**{_escaped(cell.text)}**" if cell.best else _escaped(cell.text) for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def rows_csv(comparison: Comparison) -> str:
    """A line for each row: mean, standard deviation and number of runs of every metric and cost that some run has."""
    metrics = all_metrics(comparison.runs)
    heads = [f"{name} {kind}" for name in (*metrics, *COSTS) for kind in ("mean", "deviation", "n")]
    return csv_text(["group", "run", "state", "n", *heads], _row_values(comparison, metrics))


def _row_values(comparison: Comparison, metrics: Sequence[str]) -> Iterator[list[Any]]:
    for group, row in comparison.rows:
        spreads = [*(row.metric(name) for name in metrics), *(row.cost(name) for name in COSTS)]
        numbers = [v for s in spreads for v in ((s.mean, s.deviation, s.count) if s else (None, None, 0))]
        yield [group.title, row.label, row.state.value, len(row.runs), *numbers]


def runs_csv(comparison: Comparison) -> str:
    """A line for each run: where it is, what differs in its settings (seeds too), every metric, unit in the head."""
    rows = [(group, row, run) for group, row in comparison.rows for run in row.runs]
    runs = [run for *_, run in rows]
    settings = differing([run.config for run in runs], BOOKKEEPING)
    metrics = all_metrics(runs)
    units = {name: next((run.units[name] for run in runs if name in run.units), "") for name in metrics}
    heads = [f"{name} ({units[name]})" if units[name] else name for name in metrics]
    lines = []
    for index, (group, row, run) in enumerate(rows):
        values = [column[index] for column in settings.values()]
        costs = [getattr(run.cost, name) for name in COSTS]
        errors = [run.metrics.get(name) for name in metrics]
        lines.append([group.title, row.label, run.source, run.state.value, data_name(run), *values, *errors, *costs])
    names = ["group", "run", "source", "state", "data", *settings, *heads, *(COST_TITLES[name] for name in COSTS)]
    return csv_text(names, lines)


def csv_text(heads: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """Lines below their heads."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(lines)
    return text.getvalue()
