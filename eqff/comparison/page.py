"""A comparison as one HTML page that needs nothing beside it: figures inside, tables sorted by a click on a head."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from eqff.comparison.comparison import Comparison, Group
from eqff.comparison.settings import ABSENT
from eqff.comparison.tables import SETTINGS, Cell, Table
from eqff.comparison.texts import LEGEND, numeric_columns, summary, warnings
from eqff.tracking.plots import COLOURS

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 84rem; margin: 2rem auto; padding: 0 1.5rem; }
h1 { margin-bottom: .3rem; }
h2 { border-bottom: 1px solid #ccc; padding-bottom: .2rem; margin-top: 2.5rem; }
h3 { margin: 1.4rem 0 .4rem; font-size: 1.05rem; }
.tables { display: flex; flex-wrap: wrap; gap: 0 2.5rem; align-items: flex-start; }
.tables > section { max-width: 100%; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #e3e3e3; text-align: left; }
td.number, td:first-child { white-space: nowrap; }
th { cursor: pointer; background: #f4f4f4; border-bottom: 2px solid #bbb; vertical-align: bottom; font-weight: 600; }
th.number, td.number { text-align: right; }
th:hover { background: #e6eef5; }
tbody tr:hover { background: #f4f8fb; }
td.best { font-weight: bold; color: #00674b; }
.wide td:not(:first-child) { font-size: 13px; color: #444; max-width: 24rem; }
.warning { background: #fff3d6; border-left: 4px solid #d55e00; padding: .5rem .8rem; margin: .5rem 0; }
.note { color: #555; }
nav a { margin-right: 1.2rem; }
figure { margin: 1.8rem 0; }
.dot { display: inline-block; width: .65em; height: .65em; border-radius: 50%; margin-right: .5em; }
.square { border-radius: 0; }
img { max-width: min(100%, 72rem); }
figcaption { color: #333; font-weight: 600; margin-bottom: .4rem; }
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
    parts = ["<h1>Comparison</h1>", f"<p>{escape(summary(comparison))}</p>"]
    parts += [f"<p class='note'>{escape(LEGEND)} A click on a head sorts.</p>", _contents(comparison.groups)]
    for index, group in enumerate(comparison.groups):
        parts += _group(group, index, figures[index] if index < len(figures) else {})
    parts += _notes(comparison.notes())
    head = f"<meta charset='utf-8'><title>Comparison</title><style>{_STYLE}</style>"
    body = "\n".join([*parts, f"<script>{_SCRIPT}</script>"])
    return f"<!doctype html>\n<html lang='en'><head>{head}</head>\n<body>\n{body}\n</body></html>\n"


def _contents(groups: Sequence[Group]) -> str:
    if len(groups) < 2:
        return ""
    links = "".join(f"<a href='#group-{index}'>{escape(group.title)}</a>" for index, group in enumerate(groups))
    return f"<nav>{links}</nav>"


def _group(group: Group, index: int, figures: Mapping[str, Path]) -> list[str]:
    parts = [f"<h2 id='group-{index}'>{escape(group.title)}</h2>"] if group.title else []
    parts += [f"<p class='warning'>{escape(line)}</p>" for line in warnings(group)]
    tables = [f"<section><h3>{escape(table.title)}</h3>{_table(table)}</section>" for table in group.tables()]
    parts.append(f"<div class='tables'>{''.join(tables)}</div>")
    return [*parts, *_notes(group.notes), *(_figure(caption, path) for caption, path in figures.items())]


def _notes(notes: Sequence[str]) -> list[str]:
    lines = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return [f"<ul class='note'>{lines}</ul>"] if notes else []


def _table(table: Table) -> str:
    kinds = ["number" if right else "text" for right in numeric_columns(table)]
    lines = list(enumerate(table.rows))
    heads = [escape(column).replace(".", ".<wbr>") for column in table.columns]  # full names of settings may break
    head = "".join(f"<th class='{kind}'>{text}</th>" for kind, text in zip(kinds, heads, strict=True))
    body = "\n".join(f"<tr>{_name(row[0], index)}{''.join(map(_cell, row[1:]))}</tr>" for index, row in lines)
    kind = "table wide" if table.title == SETTINGS else "table"
    return f"<div class='{kind}'><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"


def _name(cell: Cell, index: int) -> str:
    """A row's name, with the mark that it has in figures."""
    kind = "dot" if index < len(COLOURS) else "dot square"
    mark = f"<span class='{kind}' style='background:{COLOURS[index % len(COLOURS)]}'></span>"
    return _cell(cell).replace(">", f">{mark}", 1)


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
