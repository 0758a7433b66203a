"""Folders that ``python -m eqff.evaluate`` has written, as runs: models and calculators that were not trained here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eqff.comparison.run import ERROR_KINDS, EVALUATED, Run
from eqff.errors import DataError
from eqff.tracking.data_identity import DataIdentity, set_identity


def is_evaluation_folder(path: Path) -> bool:
    """Whether a folder holds evaluations that say what was evaluated."""
    return any(_evaluations(path))


def read_evaluations(path: Path) -> Run:
    """All evaluations in a folder as one run, called as the folder is.

    Raises:
        DataError: They are of several models.
    """
    found = dict(_evaluations(path))
    whats = {json.dumps(content[EVALUATED], sort_keys=True): content[EVALUATED] for content in found.values()}
    if len(whats) > 1:
        raise DataError(
            f"'{path}' holds evaluations of several models: {', '.join(map(_shown, whats.values()))}. Give each an "
            "output folder of its own."
        )
    return Run(
        source=str(path),
        name=path.name,
        config={"name": path.name, EVALUATED: next(iter(whats.values()))},
        metrics={name: value for content in found.values() for name, value in _metrics(content).items()},
        units={name: unit for content in found.values() for name, unit in _units(content).items()},
        data=DataIdentity(sets={content["name"]: set_identity(content["data"]) for content in found.values()}),
        errors_by={content["name"]: content.get("by", {}) for content in found.values()},
        predictions={content["name"]: file for stem, content in found.items() if (file := _file(path, stem))},
    )


def _evaluations(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Stem and content of every evaluation in a folder."""
    for file in sorted(path.glob("*.json")):
        if not file.with_suffix(".md").is_file():  # only reports come in pairs, and few files have to be opened
            continue
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, OSError):
            continue
        if isinstance(content, Mapping) and {EVALUATED, "data", "errors", "name", "units"} <= content.keys():
            yield file.stem, content


def _metrics(content: Mapping[str, Any]) -> dict[str, float]:
    errors = content["errors"].items()
    return {f"{content['name']}/{what}_{kind}": float(found[kind]) for what, found in errors for kind in ERROR_KINDS}


def _units(content: Mapping[str, Any]) -> dict[str, str]:
    units = content["units"].items()
    return {f"{content['name']}/{what}_{kind}": unit for what, unit in units for kind in ERROR_KINDS}


def _file(path: Path, stem: str) -> Path | None:
    file = path / f"{stem}_predictions.extxyz"
    return file if file.is_file() else None


def _shown(what: Mapping[str, Any]) -> str:
    return str(what.get("calculator") or what.get("model"))
