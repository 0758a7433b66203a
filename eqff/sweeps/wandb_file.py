"""A sweep as W&B's own, from the same command line: ``wandb sweep FILE``, then ``wandb agent`` on any machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from eqff.outputs import require_writable
from eqff.sweeps.planning import check_runs
from eqff.sweeps.running import corners
from eqff.sweeps.search import check_metric
from eqff.sweeps.settings import SweepSettings
from eqff.sweeps.space import Interval, Space

_METHODS = {"grid": "grid", "tpe": "bayes", "random": "random"}
_ONLINE = "tracking.mode=online"


def write_wandb_sweep(space: Space, settings: SweepSettings) -> str:
    """Writes the file, after a check of all values; says what to do with it.

    Raises:
        ConfigError: A setting doesn't exist or can't be what it is.
    """
    path = Path(settings.wandb or "")
    config = check_runs(corners(space, Path("runs")))[0]
    if settings.search == "grid":
        next(space.combinations())  # refuses intervals
    content = wandb_sweep(space, settings, config["training"]["monitor"], config["training"]["validations"])
    content = {"project": config["tracking"]["project"], **content}
    if config["tracking"]["entity"]:
        content["entity"] = config["tracking"]["entity"]
    require_writable(str(path.parent))
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return f"{path}: give it to W&B with\n  wandb sweep {path}\nand start, on every machine, the agent that it names."


def wandb_sweep(space: Space, settings: SweepSettings, monitor: str, validations: int) -> dict[str, Any]:
    """The content of the file.

    Args:
        space: What is fixed and what is varied.
        settings: Of the sweep.
        monitor: What is made small where the settings say nothing.
        validations: In a whole training.
    """
    if settings.search != "grid":
        check_metric(settings.metric or monitor, space)
    fixed = [text for text in space.fixed if not text.startswith("tracking.mode=")]
    parameters = {key: {"values": [_plain(value) for value in values]} for key, values in space.axes.items()}
    parameters |= {key: _distribution(interval) for key, interval in space.intervals.items()}
    content = {
        "program": "eqff.train",
        "method": _METHODS[settings.search],
        "metric": {"name": settings.metric or monitor, "goal": "minimize"},
        "parameters": parameters,
        "command": ["${env}", "${interpreter}", "-m", "${program}", *fixed, _ONLINE, "${args_no_hyphens}"],
    }
    if settings.trials is not None:
        content["run_cap"] = settings.trials
    if settings.pruner != "none":
        content["early_terminate"] = {"type": "hyperband", "min_iter": max(1, validations // 9)}
    return content


def _plain(text: str) -> Any:
    """A value as YAML has it; lists and mappings stay in Hydra's grammar, which the command line needs."""
    value = OverridesParser.create().parse_override(f"key={text}").value()
    return value if isinstance(value, bool | int | float) else text


def _distribution(interval: Interval) -> dict[str, Any]:
    ends = {"min": interval.low, "max": interval.high}
    if interval.whole and interval.logarithmic:
        return {"distribution": "q_log_uniform_values", "q": 1, **ends}
    if interval.whole:
        return {"distribution": "int_uniform", **ends}
    return {"distribution": "log_uniform_values" if interval.logarithmic else "uniform", **ends}
