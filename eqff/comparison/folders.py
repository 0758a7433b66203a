"""A run read from its folder, whose plain files are the source of truth about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from yaml import YAMLError

from eqff.comparison.final_metrics import best_validation, numeric, units_of
from eqff.comparison.run import Run, State
from eqff.errors import DataError, EqffError
from eqff.tracking.costs import continued, cost_of
from eqff.tracking.data_identity import DataIdentity
from eqff.tracking.metric_rows import JSONL, metric_lines, parse_row
from eqff.tracking.run_format import PRUNED, RUN_FORMAT, ended_by_search

CONFIG = "config.yaml"
_PREDICTIONS = "_predictions.extxyz"
_MARKS = ("run.json", "result.json", JSONL)


def is_run_folder(path: Path) -> bool:
    """Whether a training has written into a folder."""
    return (path / CONFIG).is_file() and any((path / name).is_file() for name in _MARKS)


def read_folder(path: str | Path) -> Run:
    """A run from its folder; whatever it has left so far is read, what is damaged is noted.

    Raises:
        DataError: There is no config or not a single row of metrics, a file can't be read, or a newer eqff wrote it.
    """
    path = Path(path)
    config, about, result = _config(path), _json(path / "run.json"), _json(path / "result.json")
    _check_format(path, about)
    rows, notes = _rows(path)
    metrics = result.get("metrics") or best_validation(rows, config)
    if not rows and not metrics:
        raise DataError(f"'{path}' has no metrics: {_why_none(path)}")
    sets = {name.partition("/")[0] for name in metrics}  # others were evaluated before the run went on
    evaluations = {f.stem: _json(f) for f in sorted((path / "evaluation").glob("*.json")) if f.stem in sets}
    predictions = {f.name.removesuffix(_PREDICTIONS): f for f in (path / "evaluation").glob(f"*{_PREDICTIONS}")}
    rows = continued(rows)
    parameters, note = _parameters(path, about, config)
    return Run(
        source=str(path),
        name=str(config.get("name") or path.name),
        config=config,
        metrics=numeric(metrics),
        units=_units(about, evaluations, metrics),
        rows=rows,
        data=_identity(path),
        cost=cost_of(rows, result.get("budget") or {}, result.get("step"), parameters),
        state=_state(result, _json(path / PRUNED)),
        notes=(*notes, *note),
        provenance=about,
        errors_by={name: evaluation.get("by", {}) for name, evaluation in evaluations.items()},
        predictions={name: file for name, file in sorted(predictions.items()) if name in sets},
    )


def _units(about: Mapping[str, Any], evaluations: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, str]:
    known = dict(about.get("units") or {})
    by_set = {name: evaluation.get("units", {}) for name, evaluation in evaluations.items()}
    return known | units_of(list(metrics), known, by_set)


def _rows(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    lines = metric_lines(path)
    parsed = [parse_row(line) for line in lines]
    rows = [row for row in parsed if row is not None]
    broken = len(parsed) - len(rows)
    if not broken:
        return rows, []
    where = "its last line is" if broken == 1 and parsed[-1] is None else f"{broken} of its {len(lines)} lines are"
    return rows, [f"{JSONL}: {where} no whole row (the run was killed while writing) and left out"]


def _state(result: Mapping[str, Any], pruned: Mapping[str, Any]) -> State:
    if not result:
        return State.UNFINISHED
    if ended_by_search(result, pruned):
        return State.PRUNED
    return State.INTERRUPTED if result.get("interrupted") else State.FINISHED


def _why_none(path: Path) -> str:
    if (path / "checkpoints").is_dir():
        return f"there is a checkpoint, but no row in {JSONL}. Resume it (python -m eqff.train resume='{path}')."
    return f"there is no row in {JSONL}. It was stopped before its first row, or has just begun."


def _check_format(path: Path, about: Mapping[str, Any]) -> None:
    number = about.get("format", 0)
    if not isinstance(number, int) or number > RUN_FORMAT:
        raise DataError(
            f"'{path}' was written by a newer eqff (run folder format {number}; this one reads up to {RUN_FORMAT}). "
            "Compare with that version, or update this one."
        )


def _identity(path: Path) -> DataIdentity:
    try:
        return DataIdentity.read(path)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"'{path}': data_report.json or splits.json is damaged ({error}).") from error


def _config(path: Path) -> dict[str, Any]:
    file = path / CONFIG
    if not file.is_file():
        raise DataError(f"'{path}' is no run folder: there is no {CONFIG} in it.")
    try:
        content = OmegaConf.to_container(OmegaConf.load(file))
    except (YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{file} is no YAML any more: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise DataError(f"{file} is not the config of a training.")
    return content


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no JSON any more ({error}): it is cut off or was edited.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no mapping: it is damaged, or not a run's.")
    return content


def _parameters(path: Path, about: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[int | None, list[str]]:
    """Trainable weights: as noted when the run began, else counted in its model file."""
    if "parameters" in about:
        return about["parameters"], []
    from eqff.checkpoints.model_file import MODEL_FILE, load_model  # imports torch, and only older runs need it

    if not (path / MODEL_FILE).is_file():
        return None, []
    try:
        model = load_model(path / MODEL_FILE, packages=tuple(config.get("packages") or ()))
    except EqffError as error:
        return None, [f"its parameters could not be counted: {error}"]
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad), []
