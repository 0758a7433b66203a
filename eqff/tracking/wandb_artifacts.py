"""What W&B gets of a finished run besides its rows: tables of errors, and its files as artifacts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eqff.checkpoints.model_file import MODEL_FILE

_DATA_CARD = ("data_report.json", "data_report.txt", "splits.json")
_REPORT = ("report.md", "result.json", "run.json", "config.yaml", "metrics.csv")
_PLOTS = ("figures", "evaluation", "simulation")
_TABLES = (".json", ".md")
_ERRORS = ("mae", "rmse", "max", "bias", "count")

Lines = list[list[Any]]


def log_tables(run: Any, folder: Path) -> None:
    """Errors over whole test sets, and of their parts, as W&B tables.

    Args:
        run: W&B's.
        folder: The run folder.
    """
    import wandb

    whole, parts = error_lines(folder)
    if whole:
        run.log({"tables/errors": wandb.Table(["set", "quantity", "unit", *_ERRORS], whole)})
    if parts:
        columns = ["set", "by", "part", "quantity", "unit", *_ERRORS]
        run.log({"tables/errors_by_part": wandb.Table(columns, parts)})


def error_lines(folder: Path) -> tuple[Lines, Lines]:
    """Errors of each quantity of each test set, and of each part of it, from ``evaluation/*.json``."""
    whole: Lines = []
    parts: Lines = []
    for path in sorted((folder / "evaluation").glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        units = content["units"]
        whole += [[content["name"], *line] for line in _lines(content["errors"], units)]
        for kind, members in content["by"].items():
            for part, errors in members.items():
                parts += [[content["name"], kind, part, *line] for line in _lines(errors, units)]
    return whole, parts


def _lines(errors: Mapping[str, Mapping[str, float]], units: Mapping[str, str]) -> Iterator[list[Any]]:
    for quantity, found in errors.items():
        yield [quantity, units.get(quantity, ""), *(found.get(kind) for kind in _ERRORS)]


def log_artifacts(run: Any, folder: Path, metadata: Mapping[str, Any]) -> None:
    """Data card, model file, and report with tables and figures, each as one artifact.

    Files stay where they are until W&B sends them: an offline run is synced from its folder.

    Args:
        run: W&B's.
        folder: The run folder.
        metadata: Of all three: data hash, metrics...
    """
    card = {name: folder / name for name in _DATA_CARD}
    figures = {f"{name}/{p.name}": p for name in _PLOTS for p in sorted((folder / name).glob("*.png"))}
    tables = {f"evaluation/{p.name}": p for p in sorted((folder / "evaluation").glob("*.*")) if p.suffix in _TABLES}
    report = {name: folder / name for name in _REPORT} | figures | tables
    data_hash = str(metadata.get("data_hash") or run.id)
    _log(run, f"data-{data_hash[:12]}", "dataset", card, {"data_hash": data_hash})
    _log(run, f"model-{run.id}", "model", {MODEL_FILE: folder / MODEL_FILE}, metadata)
    _log(run, f"report-{run.id}", "report", report, metadata)


def _log(run: Any, name: str, kind: str, files: Mapping[str, Path], metadata: Mapping[str, Any]) -> None:
    import wandb

    present = {inside: path for inside, path in files.items() if path.is_file()}
    if not present:
        return
    artifact = wandb.Artifact(name, type=kind, metadata=dict(metadata))
    for inside, path in present.items():
        artifact.add_file(str(path.resolve()), name=inside, policy="immutable", skip_cache=True)
    run.log_artifact(artifact)
