"""Metrics as plain files, the source of truth about a run."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from eqff.checkpoints.atomic import replacing
from eqff.errors import StorageError
from eqff.tracking.metric_rows import JSONL, metric_lines, parse_row, read_metrics

CSV = "metrics.csv"


class MetricFiles(Logger):
    """A Lightning logger that appends each row to ``metrics.jsonl`` at once, and writes ``metrics.csv`` at the end.

    A run that is killed keeps all rows, and a resumed one goes on in the same file; rows that it had written after the
    state that it resumes from are dropped, so that no step occurs twice.

    Args:
        folder: Of the run.
        clocks: More columns of every row, by name.
        resume_step: The step from which an earlier run goes on; None for a new run.

    Attributes:
        dropped: How many lines of an earlier run were beyond its state or cut off.
    """

    def __init__(self, folder: Path, clocks: Mapping[str, Callable[[], float]], resume_step: int | None = None):
        super().__init__()
        self.folder = folder
        self.clocks = clocks
        self.dropped = 0
        lines = metric_lines(folder)
        kept = [] if resume_step is None else [line for line in lines if _is_row(line, resume_step)]
        self.dropped = len(lines) - len(kept)
        with replacing(folder / JSONL) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

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
        try:
            with (self.folder / JSONL).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise StorageError(f"'{self.folder / JSONL}' could not be written: {error}. Make room.") from error

    @rank_zero_only
    def save(self) -> None:
        """Sees to it that all rows are on the disk."""
        path = self.folder / JSONL
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Writes the table."""
        write_csv(self.folder)


def _is_row(line: str, last_step: int) -> bool:
    row = parse_row(line)
    return row is not None and row["step"] <= last_step


def write_csv(folder: Path) -> None:
    """``metrics.csv`` from ``metrics.jsonl``: a column per metric, empty where a row has none."""
    rows = read_metrics(folder)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with replacing(folder / CSV) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
