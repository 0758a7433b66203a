"""A comparison as files: Markdown, CSV, one HTML page, figures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure

from eqff.checkpoints.atomic import replacing
from eqff.comparison.comparison import Comparison, Group
from eqff.comparison.figures import accuracy_against_cost, errors_by_part, learning_curves
from eqff.comparison.page import html_page
from eqff.comparison.parity import parity_figures
from eqff.comparison.texts import markdown, rows_csv, runs_csv
from eqff.tracking.plots import save_figure


def write_comparison(comparison: Comparison, folder: str | Path, *, figures: bool = True) -> dict[str, Path]:
    """Writes ``comparison.md``, ``comparison.html``, ``rows.csv``, ``runs.csv`` and ``figures/``.

    Args:
        comparison: What to write.
        folder: Is made; files of an earlier comparison there are replaced.
        figures: Whether to draw.

    Returns:
        The files by name; not the figures, which are in the page.
    """
    folder = Path(folder).expanduser()
    drawn = [
        _save_figures(group, folder / "figures", _prefix(comparison, index)) if figures else {}
        for index, group in enumerate(comparison.groups)
    ]
    relative = [[path.relative_to(folder).as_posix() for path in files.values()] for files in drawn]
    texts = {
        "comparison.md": markdown(comparison, relative),
        "comparison.html": html_page(comparison, drawn),
        "rows.csv": rows_csv(comparison),
        "runs.csv": runs_csv(comparison),
    }
    for name, text in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return {name: folder / name for name in texts}


def _prefix(comparison: Comparison, index: int) -> str:
    """What begins the file names of a group's figures."""
    if len(comparison.groups) == 1:
        return ""
    word = re.sub(r"[^\w.=+-]+", "_", comparison.groups[index].title).strip("_")[:60]
    return f"{index + 1}_{word}_"


def _save_figures(group: Group, folder: Path, prefix: str) -> dict[str, Path]:
    """By caption."""
    return {caption: save_figure(figure, folder / f"{prefix}{name}.png") for caption, name, figure in _figures(group)}


def _figures(group: Group) -> Iterator[tuple[str, str, Figure]]:
    """Caption, file name and figure of all that can be drawn from what the runs have left."""
    sets = dict.fromkeys(name.partition("/")[0] for name in group.metrics)
    if (figure := accuracy_against_cost(group)) is not None:
        yield "Error against cost; bars are standard deviations over runs", "accuracy_against_cost", figure
    if (figure := learning_curves(group)) is not None:
        yield "Validation errors over the course of training, a line for each run", "learning_curves", figure
    for part in sets:
        if (figure := errors_by_part(group, part)) is not None:
            yield f"{part}: errors of its parts, means over runs", f"{part}_by_part", figure
        for quantity, figure in parity_figures(group, part):
            title = "energy beyond a fit per element" if quantity == "energy_per_atom" else quantity.replace("_", " ")
            yield f"{part}: {title}, first run of each row", f"{part}_{quantity}_parity", figure
