"""Rounds of jobs, one process at a time, results appended to a file of JSON lines that a later start goes on with."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.jobs import OWN, Job, Places

Row = dict[str, Any]
UNKNOWN = "unknown code"
"""Of results from before it was written down."""
LAST_LINES = 6
"""Of what a failed script has said, that are shown."""


@dataclass
class Records:
    """Results of all rounds, kept in ``FOLDER/points.jsonl``.

    A row is a line of the harness with the job's ``key`` and ``round``; a failure has ``error`` instead of numbers.
    Rows of eqff have its ``code`` too.

    Attributes:
        path: Of the file.
        code: Of eqff as it is now; its results of other code are not taken for results of this one.
    """

    path: Path
    code: str = ""

    def rows(self) -> list[Row]:
        """All that were measured; a line that was cut off by a kill is left out."""
        if not self.path.is_file():
            return []
        return [row for line in self.path.read_text(encoding="utf-8").splitlines() if (row := _parsed(line))]

    def add(self, rows: Iterable[Row]) -> None:
        """Appends."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        with self.path.open("a", encoding="utf-8") as file:
            if file.tell() and not self.path.read_bytes().endswith(b"\n"):
                text = "\n" + text  # after a line that was cut off
            file.write(text)

    def current(self, keys: Container[str]) -> tuple[list[Row], list[str]]:
        """Rows of some jobs, and with which other code than this one results of eqff among them were measured.

        Where a job has results of this code, those of others are left out; else the last of them stand in.
        """
        rows = [row for row in self.rows() if row.get("key") in keys]
        codes: dict[str, str] = {}
        for row in filter(_own, rows):
            if codes.get(row["key"]) != self.code:
                codes[row["key"]] = row.get("code", UNKNOWN)
        chosen = [row for row in rows if not _own(row) or row.get("code", UNKNOWN) == codes[row["key"]]]
        return chosen, sorted(set(codes.values()) - {self.code})

    def done(self) -> set[tuple[str, int]]:
        """Keys and rounds that need not be run again: they have results of this code, and nothing in them failed."""
        rows = [row for row in self.rows() if "key" in row and not (_own(row) and row.get("code") != self.code)]
        failed = {(row["key"], row["round"]) for row in rows if "error" in row}
        return {(row["key"], row["round"]) for row in rows if "error" not in row} - failed


def _own(row: Row) -> bool:
    return str(row.get("key", "")).startswith(f"{OWN}/")


def _parsed(line: str) -> Row | None:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None


def run_rounds(
    jobs: Sequence[Job], rounds: int, places: Places, records: Records, minutes: float | None, job_seconds: float
) -> list[str]:
    """Runs every job once in each round, in another order each time.

    Args:
        jobs: In an order that puts those next to each other whose ratio matters.
        rounds: How many.
        places: Where packages are.
        records: What is there already is not measured again.
        minutes: After which no job is started; None for no limit.
        job_seconds: After which one job is given up.

    Returns:
        Errors, one text each.
    """
    done, errors, begun = records.done(), [], time.monotonic()
    wanted = [(number, job) for number in range(rounds) for job in _turned(jobs, number)]
    wanted = [(number, job) for number, job in wanted if (job.key, number) not in done]
    for place, (number, job) in enumerate(wanted, start=1):
        passed = time.monotonic() - begun
        if minutes is not None and passed > 60 * minutes:
            print(f"stopped after {minutes:g} minutes, {len(wanted) - place + 1} jobs left", file=sys.stderr)
            break
        print(f"[{place}/{len(wanted)}, {passed:.0f} s] round {number + 1}: {job}", file=sys.stderr, flush=True)
        rows, error = run_job(job, places, job_seconds)
        if error:
            errors.append(f"{job}: {error}")
            print(f"  failed: {error}", file=sys.stderr)
            rows = [*rows, {"error": error}]
        about = {"key": job.key, "round": number} | ({"code": records.code} if job.package == OWN else {})
        records.add(about | row for row in rows)
    return errors


def _turned(jobs: Sequence[Job], number: int) -> list[Job]:
    """Every second round backwards, so that drift of the machine favours nobody."""
    return list(jobs) if number % 2 == 0 else list(reversed(jobs))


def run_job(job: Job, places: Places, seconds: float) -> tuple[list[Row], str | None]:
    """The lines that a job has printed, and what went wrong, if something did."""
    places.scratch.mkdir(parents=True, exist_ok=True)
    try:
        found = subprocess.run(
            places.command(job),
            env=places.environment(job),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [], f"not done after {seconds:.0f} s (--job-seconds)"
    rows = [row for line in found.stdout.splitlines() if (row := _parsed(line))]
    failed = [row["error"] for row in rows if "error" in row]
    good = [row for row in rows if "error" not in row]
    if failed:
        return good, failed[0]
    if found.returncode or not good:
        said = [line for line in found.stderr.splitlines() if line.strip()][-LAST_LINES:]
        return good, f"exit code {found.returncode}; its last lines: " + " | ".join(said)
    return good, None
