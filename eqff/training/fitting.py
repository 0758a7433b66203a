"""The fit itself: Lightning's trainer with eqff's callbacks, loggers and checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import lightning
import torch
from lightning.pytorch.loggers import Logger

from eqff.data.module import AtomicDataModule
from eqff.errors import ConfigError, TrainingError
from eqff.evaluation.quantities import quantities
from eqff.ranks.clocks import Agreement
from eqff.ranks.group import is_first
from eqff.ranks.layout import Layout
from eqff.ranks.strategy import trainer_arguments, unused_parameters
from eqff.tracking.about import about_run, about_run_and_data
from eqff.tracking.metric_files import MetricFiles
from eqff.tracking.run_folder import RunFolder
from eqff.tracking.wandb import wandb_logger
from eqff.training.budget import Budget, epoch_limit, timed_limits
from eqff.training.callbacks.averaging import WeightAveraging
from eqff.training.callbacks.best import BestCheckpoint, Patience
from eqff.training.callbacks.last_batch import LastBatch
from eqff.training.callbacks.pacing import Pacing
from eqff.training.callbacks.persistence import Interrupted, Persistence
from eqff.training.callbacks.progress import ProgressReport
from eqff.training.callbacks.rows import MetricRows
from eqff.training.callbacks.trial import trial_report
from eqff.training.checkpoint_io import AtomicCheckpointIO
from eqff.training.losses import Losses
from eqff.training.matmul import tf32_products
from eqff.training.memory import is_out_of_memory, out_of_memory_message
from eqff.training.preparation import Preparation
from eqff.training.resuming import SavedState
from eqff.training.settings import TrainingSettings

_SHOWN = ("val/energy_per_atom_mae", "val/forces_mae")
"""On the lines of progress; where neither is trained on, the first errors that are."""


@dataclass(frozen=True)
class Outcome:
    """How a fit ended.

    Attributes:
        budget: Total and used of each limit.
        step: Optimizer steps in the state that was written last; None if there is no state.
        signal: The signal that stopped it before its budget ended; None if none did.
        device: Where this process computed; the model is on the CPU again.
    """

    budget: dict[str, dict[str, float]]
    step: int | None
    signal: int | None = None
    device: torch.device = torch.device("cpu")


def fit(prepared: Preparation, layout: Layout, state: SavedState | None = None) -> Outcome:
    """Trains.

    Args:
        prepared: What to train.
        layout: On which ranks.
        state: To go on from; None to begin.

    Raises:
        TrainingError: A loss, gradient or weight is no finite number, or memory has run out.
        StorageError: The disk is full.
        Interrupted: A second signal said to stop at once.
    """
    training, folder, module = prepared.settings.training, prepared.folder, prepared.module
    budget = Budget(timed_limits(prepared.settings.budget, prepared.clocks.functions))
    pacing = Pacing(budget, prepared.settings.schedule, training.second_stage, training.validations)
    pacing.clock = prepared.clocks.functions["wall_seconds"]
    persistence, last = Persistence(folder, training.save_every_seconds), LastBatch()
    names = {"val/loss": ""} | {name: module.units[name] for name in shown_errors(prepared.settings.losses)}
    progress = ProgressReport(budget, prepared.console, names, prepared.settings.trainer["enable_progress_bar"])
    averaging = [WeightAveraging(training.ema)] if training.ema else []
    watching = selection(training, prepared.settings.losses, folder, bool(prepared.data.frames["val"]))
    watching += trial_report(folder, lambda: budget.progress, training.validations)
    # Persistence after all whose state it writes; Lightning itself puts the one that keeps the best weights last
    agreement = Agreement(prepared.clocks, bool(budget.limits))
    callbacks = [last, agreement, pacing, *averaging, MetricRows(module.window), progress, *watching, persistence]
    trainer = make_trainer(prepared, layout, callbacks, state.step if state else None)
    signal = None
    try:
        products = tf32_products(prepared.settings.tf32, layout.accelerator)
        with products, memory_watched(last, prepared.data), interval_checked():
            # weights_only: the state is plain tensors and numbers, nothing in it is executed
            path = state.path if state else None
            trainer.fit(module, datamodule=prepared.data, ckpt_path=path, weights_only=True)
    except Interrupted as stop:
        if stop.at_once:
            raise
        signal = stop.signal
    used = pacing.used or budget.describe()
    text = ", ".join(f"{v['used']:.4g} of {v['total']:.4g} {name}" for name, v in used.items())
    prepared.console.print(f"Trained: {trainer.global_step} steps; {text}", highlight=False, soft_wrap=True)
    return Outcome(used, persistence.saved_step, signal, trainer.strategy.root_device)


def shown_errors(losses: Losses) -> list[str]:
    """The metrics on the lines of progress."""
    trained = [f"val/{quantity.name}_mae" for label in losses.labels for quantity in quantities(label)]
    return [name for name in _SHOWN if name in trained] or trained[:2]


@contextmanager
def memory_watched(last: LastBatch, data: AtomicDataModule) -> Iterator[None]:
    """Explains errors about a lack of memory that are raised in the block.

    Raises:
        TrainingError: In their place.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        size = data.batch_size if last.stage == "training" else data.eval_batch_size
        raise TrainingError(out_of_memory_message(error, last.batch, last.stage, size)) from error


@contextmanager
def interval_checked() -> Iterator[None]:
    """Explains what Lightning finds out only when it has counted the batches.

    Raises:
        ConfigError: ``trainer.val_check_interval`` is longer than an epoch.
    """
    try:
        yield
    except ValueError as error:
        if "val_check_interval" not in str(error):
            raise
        text = " ".join(str(error).split(".")[0].split())
        raise ConfigError(f"trainer.val_check_interval: {text}; 1.0 stands for a whole epoch.") from error


def selection(
    training: TrainingSettings, losses: Losses, folder: RunFolder, has_validation: bool
) -> list[lightning.Callback]:
    """The callbacks that watch a validation metric: for the best checkpoint, and for early stopping."""
    if not has_validation:
        return []
    judgement = losses.judgement if training.monitor == "val/loss" else ""
    best = BestCheckpoint(folder.best_checkpoint, training.monitor, judgement)
    if not training.early_stopping:
        return [best]
    return [best, Patience(training.monitor, training.early_stopping, judgement)]


def make_trainer(
    prepared: Preparation, layout: Layout, callbacks: Sequence[lightning.Callback], resume_step: int | None
) -> lightning.Trainer:
    """Lightning's trainer.

    Args:
        prepared: Gives settings, folder and loggers' content.
        layout: The ranks.
        callbacks: In the order in which they are called.
        resume_step: The step from which a resumed run goes on; None for a new one.
    """
    arguments = dict(prepared.settings.trainer)
    arguments["max_epochs"] = epoch_limit(prepared.settings.budget, arguments["max_epochs"], arguments["max_steps"])
    arguments |= trainer_arguments(layout, layout.ddp and _has_unused_parameters(prepared))
    return lightning.Trainer(
        **{**arguments, "enable_progress_bar": False},  # there is a better one among the callbacks
        logger=make_loggers(prepared, resume_step) if is_first() else False,
        callbacks=list(callbacks),
        plugins=[AtomicCheckpointIO()],
        default_root_dir=prepared.folder.path,
        inference_mode=False,  # forces are derivatives, in validation too
        num_sanity_val_steps=0,
        enable_model_summary=False,
    )


def make_loggers(prepared: Preparation, resume_step: int | None) -> list[Logger]:
    """Where rows of metrics go: plain files, and W&B unless it is disabled."""
    path = prepared.folder.path
    tracking, clocks = prepared.settings.tracking, prepared.clocks.functions
    about = about_run(prepared.module.potential, prepared.data.data_hash, prepared.module.units)
    config = {**prepared.cfg, "about": about_run_and_data(about, path)}
    online = wandb_logger(tracking, path, prepared.cfg["name"], config, clocks)
    files = MetricFiles(path, clocks, resume_step)
    if files.dropped:
        text = f"{files.dropped} lines of metrics.jsonl come after step {resume_step} or are cut off; dropped."
        prepared.console.print(text, highlight=False, soft_wrap=True)
    return [files, online] if online else [files]


def _has_unused_parameters(prepared: Preparation) -> bool:
    """Whether some get no gradient; says which, because it costs every step of DDP a search."""
    frames = prepared.data.frames["train"]
    names = unused_parameters(prepared.module, max(frames[:64], key=lambda frame: frame.num_edges))
    if names:
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        text = f"No loss reaches {shown}: they stay as they are, and DDP has to look for them in every step."
        prepared.console.print(text, highlight=False, soft_wrap=True)
    return bool(names)
