"""The config of a training as checked settings, before any file is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch

from eqff.build import allow, check_model
from eqff.config import settings
from eqff.data.module import AtomicDataModule
from eqff.data.splits import check_settings as check_split
from eqff.outputs import require_writable
from eqff.ranges import Count, InnerShare, NonNegative, Seed
from eqff.tracking.wandb import TrackingSettings
from eqff.training.budget import BudgetSettings
from eqff.training.finetuning.settings import FinetuneSettings
from eqff.training.losses import Losses
from eqff.training.matmul import check_tf32
from eqff.training.optimizers import check_optimizer
from eqff.training.schedules import Schedule
from eqff.training.trainer_arguments import check_trainer
from eqff.validation import check_arguments

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class GeneralSettings:
    """The top level of a training's config: its sections, and what belongs to none.

    Attributes:
        data: See `AtomicDataModule`.
        model: See `eqff.build.build_potential`.
        training: See `TrainingSettings`.
        trainer: Arguments of Lightning's trainer.
        tracking: See `TrackingSettings`.
        budget: See `BudgetSettings`.
        name: Of the run.
        output: Its folder.
        resume: Folder of the run that goes on.
        seed: Of initial weights.
        dtype: Of weights and features.
        tf32: Whether products of float32 matrices may round their factors to TF32 while a GPU trains.
        packages: Whose parts the config names, besides eqff.
        threads: Of torch on the CPU; None leaves them as they are.
        evaluate: Whether test sets are evaluated after training.
        figures: Whether learning curves are drawn.
        simulate: Settings of a molecular dynamics after training; None for none.
        finetune: See `FinetuneSettings`; None for fresh weights.
    """

    data: Mapping[str, Any]
    model: Mapping[str, Any]
    training: Mapping[str, Any]
    trainer: Mapping[str, Any]
    tracking: Mapping[str, Any]
    budget: Mapping[str, Any]
    name: str
    output: str
    resume: str | None
    seed: Seed
    dtype: Literal["float32", "float64"]
    packages: Sequence[str]
    threads: Count | None
    evaluate: bool
    figures: bool
    simulate: Mapping[str, Any] | None
    finetune: Mapping[str, Any] | None = None
    tf32: bool = False


@dataclass(frozen=True)
class TrainingSettings:
    """The section ``training``.

    Attributes:
        losses: `FieldLoss` settings by field.
        optimizer: Name and arguments, see `eqff.training.optimizers.build_optimizer`.
        schedule: See `Schedule`.
        ema: Decay of the moving average of the weights; None for none.
        second_stage: Share of the budget after which the second weights of the losses hold; None for never.
        validations: Spread over the budget.
        keep: Whether the "best" or the "last" weights become the model.
        monitor: The metric that says what is best.
        early_stopping: Validations without a better monitor after which training ends; None for never.
        save_every_seconds: How often the state is written.
        metrics: Labels whose errors are reported besides those with a loss.
        compile: Whether the training step is compiled; "auto" if it can be.
    """

    losses: Mapping[str, Any]
    optimizer: Mapping[str, Any]
    schedule: Mapping[str, Any]
    ema: InnerShare | None = 0.99
    second_stage: InnerShare | None = None
    validations: Count = 20
    keep: Literal["best", "last"] = "best"
    monitor: str = "val/loss"
    early_stopping: Count | None = None
    save_every_seconds: NonNegative = 300.0
    metrics: Sequence[str] = field(default_factory=tuple)
    compile: bool | Literal["auto"] = False


@dataclass(frozen=True)
class RunSettings:
    """All of a training's config, checked; data and model stay what their constructors take.

    Attributes:
        training: How the model is trained.
        losses: From it.
        schedule: From it.
        budget: Limits in seconds.
        tracking: Where metrics go besides plain files.
        trainer: Arguments of Lightning's trainer.
        dtype: Of weights and features.
        tf32: See `eqff.training.matmul.tf32_products`.
        packages: Whose parts config and model file may name, besides eqff.
        finetune: What is taken over from a trained model; None for fresh weights.
    """

    training: TrainingSettings
    losses: Losses
    schedule: Schedule
    budget: BudgetSettings
    tracking: TrackingSettings
    trainer: Mapping[str, Any]
    dtype: torch.dtype
    packages: tuple[str, ...] = ()
    finetune: FinetuneSettings | None = None
    tf32: bool = False

    @classmethod
    def from_config(cls, cfg: Mapping[str, Any]) -> RunSettings:
        """From the resolved config.

        Raises:
            ConfigError: Something in it is unknown, missing, of a wrong type or out of range.
        """
        general = settings(GeneralSettings, cfg, "")
        for package in general.packages:
            allow(package)
        check_data(general.data)
        check_model(general.model)
        training = settings(TrainingSettings, general.training, "training")
        finetune = None if general.finetune is None else settings(FinetuneSettings, general.finetune, "finetune")
        if finetune is not None:
            training = replace(training, optimizer=finetune.optimizer(training.optimizer))
        check_optimizer(training.optimizer)
        check_tf32(general.tf32, general.dtype)
        check_trainer(general.trainer)
        if general.simulate is not None:
            check_simulation(general.simulate)
        losses = Losses.from_config(training.losses)
        losses.check_stages(training.second_stage)
        require_writable(general.output)
        return cls(
            training=training,
            losses=losses,
            schedule=settings(Schedule, training.schedule, "training.schedule"),
            budget=settings(BudgetSettings, general.budget, "budget"),
            tracking=settings(TrackingSettings, general.tracking, "tracking"),
            trainer=general.trainer,
            dtype=DTYPES[general.dtype],
            packages=tuple(general.packages),
            finetune=finetune,
            tf32=general.tf32,
        )


def check_simulation(section: Mapping[str, Any]) -> None:
    """Checks the section ``simulate`` and reads its structure, so that a training doesn't end in an error.

    Raises:
        EqffError: A setting is wrong, or the structure can't be read.
    """
    from eqff.simulation import SimulationSettings, read_structure  # takes a while, and few trainings simulate

    read_structure(settings(SimulationSettings, section, "simulate"))


def check_data(section: Mapping[str, Any]) -> None:
    """Checks the section ``data`` against what `AtomicDataModule` takes.

    Raises:
        ConfigError: An unknown key, a wrong type, a number out of range.
    """
    check_arguments(AtomicDataModule, section, "data")
    check_split({} if section.get("split") is None else section["split"])
