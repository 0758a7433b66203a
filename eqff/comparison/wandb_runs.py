"""Runs as W&B knows them: from its own log on disk, and from its server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eqff.comparison.final_metrics import best_validation, numeric, units_of
from eqff.comparison.run import Run, State
from eqff.comparison.wandb_log import read_log
from eqff.errors import ConfigError
from eqff.tracking.costs import continued, cost_of, last, without_replaced
from eqff.tracking.data_identity import DataIdentity

_STEP, _TIME = "trainer/global_step", "_timestamp"
_NO_SETS = ("_wandb", "cost", "figures", "tables", "train", "trainer")
"""What stands before a slash in W&B's names without being a set of structures."""
_CLOCKS = {"CPU seconds": "cost/cpu_seconds", "wall seconds": "cost/wall_seconds"}
_TIMEOUT = 30  # s


def read_offline(paths: Sequence[str | Path]) -> Run:
    """A run from W&B's offline folders alone: several if it was resumed, the oldest first.

    Raises:
        DataError: See `eqff.comparison.wandb_log.read_log`.
    """
    logs = [read_log(path) for path in paths]
    final = logs[-1]
    notes = ["read from W&B's log: its folder of files is not there"]
    if not all(log.complete for log in logs):
        notes.append("W&B's log is cut off (the run was killed while writing), later rows are missing")
    return make_run(
        source=str(paths[-1]),
        name=final.name,
        config={name: value for log in logs for name, value in log.config.items()},
        summary={name: value for log in logs for name, value in log.summary.items()},
        history=[row for log in logs for row in log.history],
        ended=final.exit_code == 0,
        notes=notes,
    )


def read_project(path: str, filters: Mapping[str, Any] | None = None, api: Any = None) -> list[Run]:
    """The runs of a W&B project.

    Args:
        path: ``entity/project``.
        filters: As W&B's API takes them, for example ``{"group": "baseline", "config.seed": 0}``.
        api: A ``wandb.Api``; by default one for the account of this machine.

    Raises:
        ConfigError: W&B can't be reached, or knows neither account nor project.
    """
    import wandb

    try:
        found = list((api or wandb.Api(timeout=_TIMEOUT)).runs(path, filters=dict(filters or {})))
        return [_online(run, path) for run in found]
    except (wandb.Error, ValueError, OSError) as error:  # requests' errors are OSErrors
        text = " ".join(str(error).split())
        raise ConfigError(
            f"'{path}' is no folder here, and as a W&B project it can't be read: {text} Check the name, log in (wandb "
            "login), or compare run folders, which need no network."
        ) from error


def _online(run: Any, path: str) -> Run:
    return make_run(
        source=f"{path}/{run.id}",
        name=run.name,
        config=dict(run.config),
        summary=dict(run.summary),
        history=list(run.scan_history()),
        ended=run.state == "finished",
        notes=["read from W&B's server"],
    )


def make_run(
    source: str,
    name: str,
    config: Mapping[str, Any],
    summary: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    *,
    ended: bool,
    notes: Sequence[str] = (),
) -> Run:
    """A run from what W&B keeps of one.

    Args:
        source: Where it is.
        name: W&B's; the config's own is preferred.
        config: With the section ``about`` that eqff's trainings add.
        summary: Last values.
        history: Rows.
        ended: Whether the process has ended in an orderly way.
        notes: What a reader has to know.
    """
    about = config.get("about") or {}
    config = {key: value for key, value in config.items() if key not in ("_wandb", "about")}
    written = [row for row in map(_row, history) if "step" in row]  # others hold figures and tables
    rows = continued(without_replaced(written))
    final = {k: v for k, v in numeric(summary).items() if k.count("/") == 1 and k.split("/")[0] not in _NO_SETS}
    interrupted = bool(summary.get("interrupted"))
    closed = "kept" in summary or any(not name.startswith("val/") for name in final)
    finished = ended and closed and not interrupted
    metrics = final if finished else best_validation(rows, config)
    units = about.get("units") or {}
    steps = summary.get(_STEP, last(rows, "step"))
    used = {name: {"used": summary[key]} for name, key in _CLOCKS.items() if key in summary}
    return Run(
        source=source,
        name=str(config.get("name") or name),
        config=config,
        metrics=metrics,
        units=dict(units) | units_of(list(metrics), units, _units_by_set(about)),
        rows=rows,
        data=_data(about),
        cost=cost_of(rows, used, None if steps is None else int(steps), about.get("parameters")),
        state=State.FINISHED if finished else State.INTERRUPTED if interrupted else State.UNFINISHED,
        notes=tuple(notes),
        provenance=about,
    )


def _data(about: Mapping[str, Any]) -> DataIdentity:
    known = about.get("data") or {"data_hash": about.get("data_hash")}
    return DataIdentity.from_dict(known).of_format(about.get("format", 0))


def _units_by_set(about: Mapping[str, Any]) -> Mapping[str, Mapping[str, str]]:
    """Units of quantities, the same in all sets."""
    return dict.fromkeys((about.get("data") or {}).get("sets") or {}, about.get("quantity_units") or {})


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    names = {_STEP: "step", _TIME: "time"}
    return {names.get(key, key): value for key, value in row.items() if value is not None}
