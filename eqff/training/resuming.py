"""Going on with a run that was stopped: its config, with what the command line changes, and its state."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from eqff.errors import ConfigError, TrainingError
from eqff.tracking.data_identity import stored_hash
from eqff.tracking.run_folder import RunFolder
from eqff.training.checkpoint_io import read_checkpoint

FIXED = (
    "model",
    "data",
    "dtype",
    "seed",
    "output",
    "finetune",
    "trainer.accumulate_grad_batches",
    "trainer.limit_train_batches",
)
"""What a resumed run can't change: state, weights and the number of steps in an epoch belong to it."""

_OPTIMIZER, _OF_STATE = "training.optimizer.", ("name", "no_decay", "match", "amsgrad", "centered")
"""Settings of the optimizer and its groups that say which parameters have what state; others can change."""

CHANGEABLE = ("data.eval_batch_size", "data.num_workers", "finetune.lr_factor")
"""What it can all the same: it changes no step."""


@dataclass(frozen=True)
class SavedState:
    """A state to go on from.

    Attributes:
        path: Of its checkpoint.
        step: Optimizer steps done.
        epochs: Whole epochs done.
        notes: What people should know about how it was found.
    """

    path: Path
    step: int
    epochs: int
    notes: tuple[str, ...] = ()


def saved_state(folder: RunFolder) -> SavedState:
    """The newest state of a run that can be read.

    Raises:
        TrainingError: None can; says why of each.
    """
    faults = []
    for path in folder.states:
        if not path.is_file():
            continue
        try:
            content = read_checkpoint(path)
            progress = content["loops"]["fit_loop"]["epoch_progress"]
            step, epochs = int(content["global_step"]), int(progress["current"]["processed"])
        except TrainingError as error:
            faults.append(str(error))
            continue
        except (KeyError, TypeError, ValueError) as error:
            faults.append(f"{path} does not say how far its training is ({error!r})")
            continue
        notes = [f"{fault}. Going on from the state before, '{path}' (step {step})." for fault in faults]
        return SavedState(path, step, epochs, tuple(notes))
    raise TrainingError(f"{folder.path} can't be resumed: {'; '.join(faults)}. Start a new run.")


def resumed_config(folder: RunFolder, overrides: Sequence[str]) -> DictConfig:
    """The config of a run, with overrides such as ``trainer.max_epochs=400`` applied.

    Raises:
        ConfigError: An override would change model or data, chooses a whole group, or names no setting.
    """
    cfg = _load(folder.config)
    averaged = cfg.training.ema is not None
    OmegaConf.set_struct(cfg, True)
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.key_or_group
        if key == "resume":
            continue
        if "/" in key:
            raise ConfigError(
                f"'{key}': on resume no option of a group can be chosen anew; losses, learning rates and schedule are "
                "changed one by one, as training.losses.forces.weight=20."
            )
        replaced = OmegaConf.is_dict(OmegaConf.select(cfg, key)) and override.value() is not None
        if _is_fixed(key) or replaced:
            raise ConfigError(
                f"'{key}' can't be changed on resume: the stopped run's state belongs to it. Start a new run for that."
            )
        try:
            OmegaConf.update(cfg, key, override.value())
        except OmegaConfBaseException as error:
            raise ConfigError(
                f"{folder.config} has no setting '{key}': on resume only settings that it has can be changed."
            ) from error
    if averaged != (cfg.training.ema is not None):
        raise ConfigError("'training.ema' can't be switched on or off on resume: the state holds the average, or not.")
    return cfg


def _load(path: Path) -> DictConfig:
    try:
        cfg = OmegaConf.load(path)
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no YAML any more: {' '.join(str(error).split())}. Start a new run.") from error
    if not isinstance(cfg, DictConfig) or "training" not in cfg:
        raise ConfigError(f"{path} is not the config of a training. Give a stopped run's folder, or start a new run.")
    return cfg


def _is_fixed(key: str) -> bool:
    inside = any(key == fixed or key.startswith(f"{fixed}.") for fixed in FIXED)
    of_state = key.startswith(_OPTIMIZER) and key.rpartition(".")[2] in _OF_STATE
    return (inside or of_state) and key not in CHANGEABLE


def limits(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that say when a training ends, by their full names."""
    trainer, training = cfg["trainer"], cfg["training"]
    budget = {f"budget.{name}": value for name, value in cfg["budget"].items()}
    steps = {f"trainer.{name}": trainer[name] for name in ("max_epochs", "max_steps")}
    return steps | budget | {"training.early_stopping": training["early_stopping"]}


def finished(folder: RunFolder, cfg: Mapping[str, Any], state: SavedState) -> str:
    """What to say if a run has nothing left to do; empty if it has.

    Raises:
        ConfigError: A new limit is lower than what is done.
    """
    most = cfg["trainer"]["max_epochs"]
    if most is not None and most < state.epochs:
        raise ConfigError(
            f"trainer.max_epochs={most}, but {state.epochs} epochs are done in {folder.path}: give more, or null."
        )
    if not folder.result.is_file():
        return ""
    result = json.loads(folder.result.read_text(encoding="utf-8"))
    if result.get("interrupted") or result.get("step") != state.step or result.get("limits") != limits(cfg):
        return ""
    reached = [name for name, limit in result["budget"].items() if limit["used"] >= _REACHED * limit["total"]]
    if not reached and cfg["training"]["early_stopping"] is None:
        return ""  # stopped by something else
    used = "; ".join(f"{v['used']:.5g} of {v['total']:.5g} {name}" for name, v in result["budget"].items())
    return (
        f"{folder.path} is finished: {used}. Its model is {folder.model}. To train on, give it more: "
        f"{resume_command(folder)} {_more(result['budget'], reached)}"
    )


_REACHED = 0.97  # of a limit in seconds, which ends a training when one more step would overrun it

_SETTING = {
    "epochs": "trainer.max_epochs",
    "steps": "trainer.max_steps",
    "CPU seconds": "budget.cpu_seconds",
    "wall seconds": "budget.wall_seconds",
}


def _more(budget: Mapping[str, Mapping[str, float]], reached: Sequence[str]) -> str:
    """Overrides that double every limit that is reached."""
    more = [f"{_SETTING[name]}={2 * budget[name]['total']:g}" for name in reached]
    return " ".join(more) or "training.early_stopping=null"


def resume_command(folder: RunFolder) -> str:
    """What to type to go on with a run."""
    return f"python -m eqff.train {shlex.quote(f'resume={folder.path}')}"


def require_same_data(folder: RunFolder, data_hash: str) -> None:
    """Refuses data that is not what the run has been trained on so far.

    Raises:
        TrainingError: The files have changed.
    """
    known = stored_hash(folder.path)
    if known is not None and known != data_hash:
        raise TrainingError(
            f"{folder.path} can't be resumed: its data has changed since (hash {known[:16]}, now {data_hash[:16]}). "
            "Put the old files back, or start a new run."
        )
