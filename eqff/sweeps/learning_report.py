"""A learning curve as table and figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from rich.console import Console

from eqff.checkpoints.atomic import replacing
from eqff.comparison.choosing import choose_metrics
from eqff.comparison.numbers import spread_text
from eqff.comparison.rows import Row
from eqff.comparison.tables import Cell, Table, heading
from eqff.comparison.texts import csv_text, markdown_table, rich_table
from eqff.sweeps.learning import LearningCurve, choice_of_subsets, not_nested
from eqff.tracking.plots import BLUE, GREY, grid, save_figure, styled

_LEGEND = (
    "± : standard deviation over seeds. Exponent b: error ∝ size^-b, least squares in logarithms, ± the standard "
    "deviation of single seeds' exponents."
)


def write_curve(curve: LearningCurve, folder: Path, console: Console, wanted: Sequence[str] = ()) -> dict[str, Path]:
    """Prints the table and writes ``learning_curve.md``, ``.csv`` and ``.png``.

    Args:
        curve: With runs of two sizes or more.
        folder: Where to.
        console: Where the table is printed.
        wanted: Metrics, see `eqff.comparison.choosing.choose_metrics`.

    Returns:
        The files by suffix.
    """
    metrics = choose_metrics(curve.all_runs, wanted or None)
    table, notes = curve_table(curve, metrics), [*filter(None, [choice_of_subsets(curve)]), *not_nested(curve)]
    files = {suffix: folder / f"learning_curve.{suffix}" for suffix in ("md", "csv", "png")}
    save_figure(draw_curve(curve, metrics), files["png"])
    text = "\n\n".join(
        ["# Learning curve", _LEGEND, markdown_table(table), *notes, f"![learning curve]({files['png'].name})"]
    )
    for suffix, content in (("md", text + "\n"), ("csv", _csv(curve, metrics))):
        with replacing(files[suffix]) as temporary:
            temporary.write_text(content, encoding="utf-8")
    console.print(rich_table(table))
    for note in (*notes, _LEGEND, f"Figure: {files['png']}"):
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    return files


def curve_table(curve: LearningCurve, metrics: Sequence[str]) -> Table:
    """A line for each size, and the exponents below."""
    rows = [Row("all", tuple(curve.all_runs))]
    heads = [f"{name.partition('/')[0]}: {heading(rows, name)}" for name in metrics]
    errors = {name: curve.errors(name) for name in metrics}
    lines = []
    for size, seeds in curve.runs.items():
        found = [errors[name].get(size) for name in metrics]
        cells = [Cell(spread_text(s, len(seeds)), s.mean) if s else Cell("–") for s in found]
        lines.append((Cell(str(size)), Cell(str(len(seeds)), len(seeds)), *cells))
    laws = [curve.power_law(name) for name in metrics]
    exponents = [Cell(str(law), law.exponent) if law else Cell("–") for law in laws]
    lines.append((Cell("exponent b"), Cell(""), *exponents))
    return Table("Errors by size of the training set", ("structures", "n", *heads), tuple(lines))


def _csv(curve: LearningCurve, metrics: Sequence[str]) -> str:
    units = {name: next((run.units[name] for run in curve.all_runs if name in run.units), "") for name in metrics}
    heads = ["structures", "seed", "source", *(f"{name} ({units[name]})" for name in metrics)]
    lines = [
        [size, seed, run.source, *(run.metrics.get(name) for name in metrics)]
        for size, seeds in curve.runs.items()
        for seed, run in seeds.items()
    ]
    return csv_text(heads, lines)


@styled
def draw_curve(curve: LearningCurve, metrics: Sequence[str]) -> Figure:
    """Errors over sizes, both logarithmic: means with spreads, single seeds, and the power law."""
    figure, axes = grid(len(metrics), (3.6, 3.0))
    rows, sizes = [Row("all", tuple(curve.all_runs))], list(curve.runs)
    for ax, name in zip(axes, metrics, strict=True):
        single = [
            (s, run.metrics[name]) for s, seeds in curve.runs.items() for run in seeds.values() if name in run.metrics
        ]
        ax.plot(*np.array(single).reshape(-1, 2).T, "o", color=BLUE, alpha=0.35, markersize=3)
        means = curve.errors(name)
        bars = [spread.deviation or 0.0 for spread in means.values()]
        ax.errorbar(list(means), [s.mean for s in means.values()], yerr=bars, fmt="o", color=BLUE, capsize=2)
        law = curve.power_law(name)
        if law is not None:
            span = np.geomspace(min(means), max(means), 50)
            ax.plot(span, law(span), "--", color=GREY, label=f"size$^{{-b}}$, b = {law}")
            ax.legend(loc="lower left")
        ax.set(xscale="log", yscale="log", xlabel="training structures", ylabel=heading(rows, name))
        ax.set_title(name.partition("/")[0])
        ax.xaxis.set(major_locator=FixedLocator(sizes), minor_locator=NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.yaxis.set(major_formatter=FuncFormatter(lambda value, _: f"{value:g}"), minor_formatter=NullFormatter())
    return figure
