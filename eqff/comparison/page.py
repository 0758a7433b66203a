"""A comparison as one HTML page that needs nothing beside it: figures inside, tables sorted by a click on a head."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from eqff.comparison.comparison import Comparison, Group
from eqff.comparison.settings import ABSENT
from eqff.comparison.tables import Cell, Table
from eqff.comparison.texts import LEGEND, warnings

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 86rem; margin: 2rem auto; padding: 0 1rem; }
h2 { border-bottom: 1px solid #ccc; padding-bottom: .2rem; margin-top: 2.5rem; }
h3 { margin: 1.6rem 0 .4rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #e3e3e3; text-align: left; }
td.number, td:first-child { white-space: nowrap; }
th { cursor: pointer; background: #f4f4f4; border-bottom: 2px solid #bbb; }
td.number { text-align: right; }
td.best { font-weight: bold; color: #00674b; }
.warning { background: #fff3d6; border-left: 4px solid #d55e00; padding: .5rem .8rem; margin: .5rem 0; }
.note { color: #555; }
figure { margin: 1.2rem 0; }
img { max-width: 100%; }
figcaption { color: #555; }
"""

_SCRIPT = """
document.querySelectorAll('th').forEach(head => head.addEventListener('click', () => {
  const body = head.closest('table').tBodies[0], index = head.cellIndex;
  const up = head.dataset.up = head.dataset.up === '1' ? '0' : '1';
  const key = row => row.cells[index].dataset.value;
  const compare = (a, b) => {
    if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
    const sign = up === '1' ? 1 : -1;
    return sign * (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b);
  };
  [...body.rows].sort((a, b) => compare(key(a), key(b))).forEach(row => body.append(row));
}));
"""


def html_page(comparison: Comparison, figures: Sequence[Mapping[str, Path]] = ()) -> str:
    """The page.

    Args:
        comparison: To write.
        figures: For each group, captions to image files, which are put into the page.
    """
    parts = ["<h1>Comparison</h1>", f"<p class='note'>{escape(LEGEND)} A click on a head sorts.</p>"]
    for index, group in enumerate(comparison.groups):
        parts += _group(group, figures[index] if index < len(figures) else {})
    parts += _notes(comparison.notes())
    head = f"<meta charset='utf-8'><title>Comparison</title><style>{_STYLE}</style>"
    body = "\n".join([*parts, f"<script>{_SCRIPT}</script>"])
    return f"<!doctype html>\n<html lang='en'><head>{head}</head>\n<body>\n{body}\n</body></html>\n"


def _group(group: Group, figures: Mapping[str, Path]) -> list[str]:
    parts = [f"<h2>{escape(group.title)}</h2>"] if group.title else []
    parts += [f"<p class='warning'>{escape(line)}</p>" for line in warnings(group)]
    for table in group.tables():
        parts += [f"<h3>{escape(table.title)}</h3>", _table(table)]
    return [*parts, *_notes(group.notes), *(_figure(caption, path) for caption, path in figures.items())]


def _notes(notes: Sequence[str]) -> list[str]:
    lines = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return [f"<ul class='note'>{lines}</ul>"] if notes else []


def _table(table: Table) -> str:
    heads = [escape(column).replace(".", ".<wbr>") for column in table.columns]  # full names of settings may break
    head = "".join(f"<th>{text}</th>" for text in heads)
    body = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    return f"<div class='table'><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"


def _cell(cell: Cell) -> str:
    kind = "number" if cell.value is not None else "text"
    classes = f"{kind} best" if cell.best else kind
    sort_key = (
        "" if cell.text == ABSENT else f" data-value='{escape(str(cell.value if kind == 'number' else cell.text))}'"
    )
    return f"<td class='{classes}'{sort_key}>{escape(cell.text)}</td>"


def _figure(caption: str, path: Path) -> str:
    image = base64.b64encode(path.read_bytes()).decode()
    source = f"data:image/png;base64,{image}"
    return f"<figure><figcaption>{escape(caption)}</figcaption><img alt='{escape(caption)}' src='{source}'></figure>"
