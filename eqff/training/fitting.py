"""The fit itself: Lightning's trainer with eqff's callbacks, loggers and checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from eqff.errors import ConfigError
from eqff.tracking.metric_files import MetricFiles
from eqff.tracking.run_folder import RunFolder, provenance
from eqff.tracking.wandb import wandb_logger
from eqff.training.budget import Budget, epoch_limit, timed_limits
from eqff.training.callbacks.averaging import WeightAveraging
from eqff.training.callbacks.pacing import Pacing
from eqff.training.callbacks.persistence import Persistence
from eqff.training.callbacks.progress import ProgressReport
from eqff.training.checkpoint_io import AtomicCheckpointIO
from eqff.training.preparation import Preparation
from eqff.training.resuming import checkpoint_step
from eqff.training.settings import TrainingSettings

_SHOWN = ("val/energy_per_atom_mae", "val/forces_mae")


def fit(prepared: Preparation, *, resume: bool) -> tuple[dict[str, dict[str, float]], bool]:
    """Trains.

    Args:
        prepared: What to train.
        resume: Whether to go on from the run folder's last state.

    Returns:
        Total and used of each limit of the budget, and whether the run was told to stop.
    """
    training, folder, module = prepared.settings.training, prepared.folder, prepared.module
    budget = Budget(timed_limits(prepared.settings.budget, prepared.clocks.functions))
    pacing = Pacing(budget, prepared.settings.schedule, training.second_stage, training.validations)
    persistence = Persistence(folder.last_checkpoint, pacing, training.save_every_seconds)
    names = {"val/loss": ""} | {name: module.units[name] for name in _SHOWN if name in module.units}
    progress = ProgressReport(budget, prepared.console, names, prepared.settings.trainer["enable_progress_bar"])
    averaging = [WeightAveraging(training.ema)] if training.ema else []
    watching = selection(training, folder, bool(prepared.data.frames["val"]))
    callbacks = [pacing, *averaging, progress, *watching, persistence]
    trainer = make_trainer(prepared, callbacks, checkpoint_step(folder.last_checkpoint) if resume else None)
    # weights_only: the state is plain tensors and numbers, nothing in it is executed
    path = folder.last_checkpoint if resume else None
    trainer.fit(module, datamodule=prepared.data, ckpt_path=path, weights_only=True)
    text = ", ".join(f"{v['used']:.4g} of {v['total']:.4g} {name}" for name, v in pacing.used.items())
    prepared.console.print(f"Trained: {trainer.global_step} steps; {text}", highlight=False, soft_wrap=True)
    return pacing.used, persistence.interrupted


def selection(training: TrainingSettings, folder: RunFolder, has_validation: bool) -> list[lightning.Callback]:
    """The callbacks that watch a validation metric: for the best checkpoint, and for early stopping.

    Raises:
        ConfigError: There is no validation set, but something watches it.
    """
    if not has_validation:
        if training.early_stopping:
            raise ConfigError("training.early_stopping needs a validation set: give data.val or data.split.val.")
        return []
    best = ModelCheckpoint(
        dirpath=folder.best_checkpoint.parent,
        filename=folder.best_checkpoint.stem,
        monitor=training.monitor,
        save_top_k=1,
        enable_version_counter=False,
    )
    patience = training.early_stopping
    return [best, *([EarlyStopping(training.monitor, patience=patience)] if patience else [])]


def make_trainer(
    prepared: Preparation, callbacks: Sequence[lightning.Callback], resume_step: int | None
) -> lightning.Trainer:
    """Lightning's trainer.

    Args:
        prepared: Gives settings, folder and loggers' content.
        callbacks: In the order in which they are called.
        resume_step: The step from which a resumed run goes on; None for a new one.
    """
    arguments = dict(prepared.settings.trainer)
    arguments["max_epochs"] = epoch_limit(prepared.settings.budget, arguments["max_epochs"], arguments["max_steps"])
    if arguments["accelerator"] == "auto":
        arguments["accelerator"] = "cuda" if torch.cuda.is_available() else "cpu"  # mps has no float64
    path = prepared.folder.path
    about = provenance() | {"data_hash": prepared.data.data_hash, "units": prepared.module.units}
    online = wandb_logger(prepared.settings.tracking, path, prepared.cfg["name"], {**prepared.cfg, "about": about})
    files = MetricFiles(path, prepared.clocks.functions, resume_step)
    return lightning.Trainer(
        **{**arguments, "enable_progress_bar": False},  # there is a better one among the callbacks
        logger=[files, online] if online else [files],
        callbacks=list(callbacks),
        plugins=[AtomicCheckpointIO()],
        default_root_dir=path,
        inference_mode=False,  # forces are derivatives, in validation too
        num_sanity_val_steps=0,
        enable_model_summary=False,
    )
