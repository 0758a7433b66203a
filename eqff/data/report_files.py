"""What a run says and keeps about its data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from eqff.checkpoints.atomic import replacing
from eqff.data.paths import PathLike
from eqff.data.reference_set import ReferenceSet
from eqff.data.report import DatasetReport, overview
from eqff.data.splits import Split, write_split


def print_report(console: Console, reports: Mapping[str, DatasetReport], reference: ReferenceSet) -> None:
    """The sets side by side, and the reference energies."""
    for item in overview(reports):
        console.print(item)
    console.print(f"Reference energies ({reference.method})")
    console.print(reference.table())
    for note in reference.notes:
        console.print(f"  {note}")


def write_report(
    folder: PathLike,
    reports: Mapping[str, DatasetReport],
    reference: ReferenceSet,
    about: Mapping[str, Any],
    split: Split,
    source: str,
) -> None:
    """Writes ``data_report.json``, ``data_report.txt`` and ``splits.json``, each whole or not at all.

    Args:
        folder: Where to.
        reports: By set.
        reference: Reference energies.
        about: What else the JSON file says; its ``data_hash`` goes into the split too.
        split: Of the training files.
        source: The training files.
    """
    folder = Path(folder)
    sets = {name: report.to_dict() for name, report in reports.items()}
    content = {**about, "sets": sets, "reference_energies": reference.to_dict()}
    with replacing(folder / "data_report.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    with replacing(folder / "data_report.txt") as temporary, temporary.open("w", encoding="utf-8") as file:
        console = Console(file=file, width=120)
        print_report(console, reports, reference)
        for report in reports.values():
            console.print(report.table())
    with replacing(folder / "splits.json") as temporary:
        write_split(temporary, split, source=source, data_hash=about["data_hash"])
