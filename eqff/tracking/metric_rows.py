"""The rows of metrics that a run has written, read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

JSONL = "metrics.jsonl"


def read_metrics(folder: str | Path) -> list[dict[str, Any]]:
    """All rows of a run, in the order in which they were written; a line that was cut off is left out."""
    return [row for row in map(parse_row, metric_lines(folder)) if row is not None]


def metric_lines(folder: str | Path) -> list[str]:
    """The lines of ``metrics.jsonl`` as they stand there; none where there is no such file."""
    path = Path(folder) / JSONL
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []


def parse_row(line: str) -> dict[str, Any] | None:
    """A line as a row, None if it is no whole one."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None
    return row if isinstance(row, dict) and "step" in row else None
