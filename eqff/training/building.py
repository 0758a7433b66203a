"""The model of a training: made for its data, or with the weights that a fine-tuning begins with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from eqff.build import ModelContext, build_potential
from eqff.checkpoints.model_file import read_metadata
from eqff.data.differences import base_of
from eqff.data.module import AtomicDataModule
from eqff.errors import ConfigError
from eqff.potential import Potential
from eqff.registry.locate import locate
from eqff.tracking.run_folder import RunFolder
from eqff.training.finetuning.freezing import Frozen
from eqff.training.finetuning.settings import FinetuneSettings
from eqff.training.finetuning.start import Start, begin, errors_before
from eqff.training.settings import RunSettings

START = "finetune.json"
"""Of a run folder: how a fine-tuning began."""


@dataclass(frozen=True)
class Built:
    """A model for the data.

    Attributes:
        potential: With fresh weights, or those that a fine-tuning begins with.
        context: What it took from the data, or from the model before.
        start: How a fine-tuning began; None for fresh weights.
        frozen: What of it is not trained.
    """

    potential: Potential
    context: ModelContext
    start: Start | None = None
    frozen: Frozen = field(default_factory=Frozen)


def build_model(
    cfg: Mapping[str, Any], settings: RunSettings, data: AtomicDataModule, earlier: Start | None = None
) -> Built:
    """The model made for the data; also gives the data the neighbour lists that the model asks for.

    The model is made twice: which lists it needs is known from the first, how many neighbours atoms have then only from
    the lists.

    Args:
        cfg: The resolved config.
        settings: The same, checked.
        data: Read.
        earlier: How the run that goes on began, if it is a fine-tuning: its weights come with its state.

    Raises:
        ConfigError: A simulation is asked for with a model of differences to a base.
    """
    _refuse_simulation(cfg, data.context())
    data.build_neighbours(build_potential(cfg["model"], data.context(), settings.dtype).neighbour_lists)
    torch.manual_seed(cfg["seed"])
    context, start = data.context(), earlier
    if earlier:
        context = earlier.context
        potential = build_potential(cfg["model"], context, settings.dtype)
    elif settings.finetune:
        begun = (cfg["model"], context, data.frames["train"], settings.dtype, settings.packages)
        potential, start = begin(settings.finetune, *begun)
        context = start.context
        if cfg["evaluate"]:
            start = replace(start, before=errors_before(potential, data.frames))
        potential.train()
    else:
        potential = build_potential(cfg["model"], context, settings.dtype)
    frozen = start.freeze(potential, settings.finetune.freeze) if start else Frozen()
    if frozen.count and not earlier:
        start = replace(start, notes=(*start.notes, str(frozen)))
    if settings.training.compile:
        potential.compile_training_step(required=settings.training.compile != "auto")
    return Built(potential, context, start, frozen)


def _refuse_simulation(cfg: Mapping[str, Any], context: ModelContext) -> None:
    base = base_of(context.level_of_theory)
    if base is not None and cfg.get("simulate"):
        raise ConfigError(
            f"simulate: the labels are those minus {base}, and a simulation needs the sum. Leave it out, and simulate "
            "afterwards: python -m eqff.simulate model=... base=..."
        )


def elements_of_model(finetune: FinetuneSettings | None, earlier: Start | None) -> tuple[int, ...]:
    """Atomic numbers that the model which is fine-tuned covers: test sets may have them, whatever the new data have."""
    if earlier:
        return earlier.context.elements
    return read_metadata(locate(finetune.model).path).model_context().elements if finetune else ()


def earlier_start(folder: RunFolder | None) -> Start | None:
    """How a run that goes on began, if it is a fine-tuning."""
    path = folder.path / START if folder else None
    return Start.from_dict(json.loads(path.read_text(encoding="utf-8"))) if path and path.is_file() else None
