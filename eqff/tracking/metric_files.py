"""Metrics as plain files, the source of truth about a run."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from eqff.checkpoints.atomic import replacing

JSONL, CSV = "metrics.jsonl", "metrics.csv"


class MetricFiles(Logger):
    """A Lightning logger that appends each row to ``metrics.jsonl`` at once, and writes ``metrics.csv`` at the end.

    A run that is killed keeps all rows, and a resumed one goes on in the same file; rows that it had written after the
    state that it resumes from are dropped, so that no step occurs twice.

    Args:
        folder: Of the run.
        clocks: More columns of every row, by name.
        resume_step: The step from which an earlier run goes on; None for a new run.
    """

    def __init__(self, folder: Path, clocks: Mapping[str, Callable[[], float]], resume_step: int | None = None):
        super().__init__()
        self.folder = folder
        self.clocks = clocks
        rows = [] if resume_step is None else [row for row in read_metrics(folder) if row["step"] <= resume_step]
        with replacing(folder / JSONL) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    @property
    def name(self) -> str:
        """For Lightning."""
        return "files"

    @property
    def version(self) -> str:
        """For Lightning."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run folder has the config."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Appends one row."""
        row = {"step": step, "time": round(time.time(), 3)}
        row |= {name: round(clock(), 3) for name, clock in self.clocks.items()} | metrics
        with (self.folder / JSONL).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Writes the table."""
        write_csv(self.folder)


def read_metrics(folder: str | Path) -> list[dict[str, Any]]:
    """All rows of a run, in the order in which they were written; a line that was cut off is left out."""
    path = Path(folder) / JSONL
    return list(_rows(path)) if path.is_file() else []


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


def write_csv(folder: Path) -> None:
    """``metrics.csv`` from ``metrics.jsonl``: a column per metric, empty where a row has none."""
    rows = read_metrics(folder)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with replacing(folder / CSV) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
