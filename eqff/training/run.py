"""A training from config to model file: each step a function, in the order in which they happen."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from eqff.build import ModelContext, build_potential
from eqff.checkpoints.model_file import save_model
from eqff.config import settings
from eqff.data.module import AtomicDataModule
from eqff.errors import ConfigError, TrainingError, did_you_mean
from eqff.evaluation.states import count_states
from eqff.potential import Potential
from eqff.tracking.metric_files import MetricFiles
from eqff.tracking.run_folder import RunFolder, provenance
from eqff.tracking.wandb import TrackingSettings, wandb_logger
from eqff.training.budget import Budget, BudgetSettings, CpuClock, epoch_limit, timed_limits, wall_seconds
from eqff.training.callbacks.averaging import WeightAveraging
from eqff.training.callbacks.pacing import Pacing
from eqff.training.callbacks.persistence import Persistence
from eqff.training.callbacks.progress import ProgressReport, duration
from eqff.training.checkpoint_io import AtomicCheckpointIO
from eqff.training.losses import Losses
from eqff.training.module import ForceFieldModule
from eqff.training.resuming import checkpoint_step, resumed_config
from eqff.training.schedules import Schedule

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass
class RunResult:
    """What a training left.

    Attributes:
        folder: The run folder.
        potential: The model that was kept, ready for evaluation.
        metrics: Of the kept model: ``val/...`` and for each test set ``SET/...``, in the units of the report.
        budget: Total and used of each limit.
        interrupted: Whether it was told to stop before the budget ended.
    """

    folder: Path
    potential: Potential
    metrics: dict[str, float]
    budget: dict[str, dict[str, float]]
    interrupted: bool = False


@dataclass
class Clocks:
    """Seconds since training is counted, for budgets and metrics.

    Attributes:
        since_process_start: Count from the start of the process; else from when this was made.
    """

    since_process_start: bool
    functions: dict[str, Callable[[], float]] = field(init=False)

    def __post_init__(self) -> None:
        raw = {"cpu_seconds": CpuClock(), "wall_seconds": wall_seconds}
        starts = {name: 0.0 if self.since_process_start else clock() for name, clock in raw.items()}
        self.functions = {name: lambda c=clock, s=starts[name]: c() - s for name, clock in raw.items()}


@dataclass
class Preparation:
    """All that a fit needs.

    Attributes:
        cfg: The resolved config as plain values.
        folder: Where everything goes.
        console: Where people read.
        data: Read, with neighbour lists.
        context: What the model took from the data.
        module: The model with its losses.
        clocks: Of budgets and metrics.
    """

    cfg: dict[str, Any]
    folder: RunFolder
    console: Console
    data: AtomicDataModule
    context: ModelContext
    module: ForceFieldModule
    clocks: Clocks


def run_training(cfg: DictConfig, overrides: Sequence[str] = (), *, since_process_start: bool = False) -> RunResult:
    """See `eqff.train.train`."""
    from eqff.training.finish import finish

    clocks = Clocks(since_process_start)
    resume = cfg.get("resume")
    folder = RunFolder.open(resume) if resume else None
    cfg = resumed_config(folder, overrides) if folder else cfg
    prepared = prepare(OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True), folder, clocks)
    budget, interrupted = fit(prepared, resume=folder is not None)
    if interrupted:
        resume = f"python -m eqff.train resume={prepared.folder.path}"
        prepared.console.print(f"Stopped; the state is saved. To go on: {resume}", highlight=False, soft_wrap=True)
    return finish(prepared, budget, interrupted)


def prepare(cfg: dict[str, Any], folder: RunFolder | None, clocks: Clocks) -> Preparation:
    """Reads the data and builds the model; writes nothing before both are known to be right.

    Args:
        cfg: The resolved config.
        folder: Of the run that is resumed; None to make a new one.
        clocks: Of budgets and metrics.
    """
    console = Console(soft_wrap=False)
    if cfg["threads"]:
        torch.set_num_threads(cfg["threads"])
    lightning.seed_everything(cfg["seed"], workers=True, verbose=False)
    losses = Losses.from_config(cfg["training"]["losses"])
    data = AtomicDataModule(**cfg["data"])
    data.read()
    data.print_report(console)
    losses.check_labels({label.name: label.frames for label in data.report["train"].labels}, len(data.frames["train"]))
    potential, context = build_model(cfg, data)
    module = ForceFieldModule(potential, losses, cfg["training"]["optimizer"], tuple(cfg["training"]["metrics"]))
    folder = folder or RunFolder.create(cfg["output"])
    with folder.config.open("w", encoding="utf-8") as file:
        OmegaConf.save(OmegaConf.create({**cfg, "resume": None, "output": str(folder.path)}), file)
    folder.write_json("run.json", provenance() | {"data_hash": data.data_hash, "units": module.units})
    data.save(folder.path)
    console.print(f"{describe_model(potential)}\nRun folder: {folder.path}", highlight=False, soft_wrap=True)
    return Preparation(cfg, folder, console, data, context, module, clocks)


def build_model(cfg: Mapping[str, Any], data: AtomicDataModule) -> tuple[Potential, ModelContext]:
    """The model with fresh weights, made for the data; also gives the data the neighbour lists that the model asks for.

    The model is made twice: which lists it needs is known from the first, how many neighbours atoms have then only from
    the lists.
    """
    if cfg["dtype"] not in DTYPES:
        raise ConfigError(f"dtype: no '{cfg['dtype']}'.{did_you_mean(str(cfg['dtype']), DTYPES)}")
    dtype = DTYPES[cfg["dtype"]]
    data.build_neighbours(build_potential(cfg["model"], data.context(), dtype).neighbour_lists)
    torch.manual_seed(cfg["seed"])
    context = data.context()
    potential = build_potential(cfg["model"], context, dtype)
    if cfg["training"]["compile"]:
        potential.compile_training_step()
    return potential, context


def describe_model(potential: Potential) -> str:
    """One line: weights of each part, cutoffs."""
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in potential.ordered_parts().items()}
    parts = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    lists = ", ".join(f"{name} {cutoff:g} Å" for name, cutoff in potential.neighbour_lists.items())
    return f"Model: {sum(counts.values()):,} weights ({parts}); neighbour lists: {lists or 'none'}"


def fit(prepared: Preparation, *, resume: bool) -> tuple[Budget, bool]:
    """Trains.

    Returns:
        The budget as it was used, and whether the run was told to stop.
    """
    training, folder, module = prepared.cfg["training"], prepared.folder, prepared.module
    budget = make_budget(prepared.cfg, prepared.clocks)
    pacing = Pacing(
        budget,
        settings(Schedule, training["schedule"], "training.schedule"),
        second_stage=training["second_stage"],
        validations=training["validations"],
    )
    persistence = Persistence(folder.last_checkpoint, pacing, training["save_every_seconds"])
    shown = {name: module.units[name] for name in ("val/energy_per_atom_mae", "val/forces_mae") if name in module.units}
    progress = ProgressReport(
        budget, prepared.console, {"val/loss": ""} | shown, prepared.cfg["trainer"]["enable_progress_bar"]
    )
    averaging = [WeightAveraging(training["ema"])] if training["ema"] else []
    watching = selection(training, folder, bool(prepared.data.frames["val"]))
    callbacks = [pacing, *averaging, progress, *watching, persistence]
    trainer = make_trainer(prepared, callbacks, resume_step=checkpoint_step(folder.last_checkpoint) if resume else None)
    trainer.fit(module, datamodule=prepared.data, ckpt_path=folder.last_checkpoint if resume else None)
    used = ", ".join(f"{v['used']:.4g} of {v['total']:.4g} {name}" for name, v in budget.describe().items())
    prepared.console.print(f"Trained: {trainer.global_step} steps; {used}", highlight=False, soft_wrap=True)
    return budget, persistence.interrupted


def make_budget(cfg: Mapping[str, Any], clocks: Clocks) -> Budget:
    """The limits in seconds, counted from where the clocks start; `Pacing` adds those in epochs and steps."""
    limits = timed_limits(settings(BudgetSettings, cfg["budget"], "budget"), clocks.functions)
    return Budget(limits)


def selection(training: Mapping[str, Any], folder: RunFolder, has_validation: bool) -> list[lightning.Callback]:
    """The callbacks that watch a validation metric: for the best checkpoint, and for early stopping.

    Raises:
        ConfigError: There is no validation set, but something watches it.
    """
    if not has_validation:
        if training["early_stopping"]:
            raise ConfigError("training.early_stopping needs a validation set: give data.val or data.split.val.")
        return []
    best = ModelCheckpoint(
        dirpath=folder.best_checkpoint.parent,
        filename=folder.best_checkpoint.stem,
        monitor=training["monitor"],
        save_top_k=1,
        enable_version_counter=False,
    )
    patience = training["early_stopping"]
    return [best, *([EarlyStopping(training["monitor"], patience=patience)] if patience else [])]


def make_trainer(
    prepared: Preparation, callbacks: Sequence[lightning.Callback], resume_step: int | None
) -> lightning.Trainer:
    """Lightning's trainer with eqff's loggers, callbacks and atomic checkpoints."""
    cfg = dict(prepared.cfg["trainer"])
    cfg["max_epochs"] = epoch_limit(
        settings(BudgetSettings, prepared.cfg["budget"], "budget"), cfg["max_epochs"], cfg["max_steps"]
    )
    if cfg["accelerator"] == "auto":
        cfg["accelerator"] = "cuda" if torch.cuda.is_available() else "cpu"  # mps has no float64
    path = prepared.folder.path
    files = MetricFiles(path, prepared.clocks.functions, resume_step)
    about = provenance() | {"data_hash": prepared.data.data_hash, "units": prepared.module.units}
    tracking = settings(TrackingSettings, prepared.cfg["tracking"], "tracking")
    online = wandb_logger(tracking, path, prepared.cfg["name"], {**prepared.cfg, "about": about})
    try:
        return lightning.Trainer(
            **{**cfg, "enable_progress_bar": False},
            logger=[files, online] if online else [files],
            callbacks=list(callbacks),
            plugins=[AtomicCheckpointIO()],
            default_root_dir=path,
            inference_mode=False,  # forces are derivatives, in validation too
            num_sanity_val_steps=0,
            enable_model_summary=False,
        )
    except TypeError as error:
        raise ConfigError(f"trainer: {error}") from error


def keep_weights(prepared: Preparation) -> str:
    """Puts the weights to keep into the potential, the average where there is one, and saves the model file.

    Returns:
        Which were kept: "best" or "last".
    """
    folder, keep = prepared.folder, prepared.cfg["training"]["keep"]
    if keep not in ("best", "last"):
        raise ConfigError(f"training.keep: no '{keep}'.{did_you_mean(keep, ('best', 'last'))}")
    best = keep == "best" and folder.best_checkpoint.is_file()
    path = folder.best_checkpoint if best else folder.last_checkpoint
    if not path.is_file():
        raise TrainingError("Not a single step was done: the budget ended before training began.")
    potential = prepared.module.potential
    weights = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    prefix = "potential."
    potential.load_state_dict({n.removeprefix(prefix): v for n, v in weights.items() if n.startswith(prefix)})
    potential.cpu().eval()
    return "best" if best else "last"


def save(prepared: Preparation, metrics: Mapping[str, float]) -> None:
    """Writes the model file."""
    about = {
        "data_hash": prepared.data.data_hash,
        "states": count_states(prepared.data.frames["train"]),
        "metrics": dict(metrics),
        "units": prepared.module.validation_errors.units,
        "run": prepared.cfg["name"],
    }
    save_model(
        prepared.folder.model,
        prepared.module.potential,
        model_config=prepared.cfg["model"],
        context=prepared.context,
        metadata=about,
    )


def elapsed(started: float) -> str:
    """Wall time since a `time.perf_counter` value, for people."""
    return duration(time.perf_counter() - started)
