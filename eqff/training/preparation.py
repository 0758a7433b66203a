"""From config to everything that a fit needs: data read, model made, run folder opened."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from omegaconf import OmegaConf
from rich.console import Console

from eqff.build import ModelContext, build_potential
from eqff.data.module import AtomicDataModule
from eqff.errors import ConfigError, DataError
from eqff.potential import Potential
from eqff.ranks.clocks import SharedClocks
from eqff.ranks.group import from_first, is_first, require_same, together
from eqff.tracking.run_folder import RunFolder, provenance
from eqff.training.budget import Clocks
from eqff.training.module import ForceFieldModule
from eqff.training.rehearsal import rehearse
from eqff.training.resuming import require_same_data
from eqff.training.settings import RunSettings, TrainingSettings


@dataclass
class Preparation:
    """All that a fit needs.

    Attributes:
        cfg: The resolved config as plain values.
        settings: The same, checked.
        folder: Where everything goes.
        console: Where people read.
        data: Read, with neighbour lists.
        context: What the model took from the data.
        module: The model with its losses.
        clocks: Of budgets and metrics, the same on all ranks.
    """

    cfg: dict[str, Any]
    settings: RunSettings
    folder: RunFolder
    console: Console
    data: AtomicDataModule
    context: ModelContext
    module: ForceFieldModule
    clocks: SharedClocks


def prepare(cfg: dict[str, Any], folder: RunFolder | None, clocks: Clocks) -> Preparation:
    """Checks the config, reads the data and builds the model; a folder is made once all of them are known to be right.

    Args:
        cfg: The resolved config.
        folder: Of the run that is resumed; None to make a new one.
        clocks: Of budgets and metrics.

    With several ranks all of them read and build, and the first one makes the folder.
    """
    console = Console(quiet=not is_first())
    with together():
        settings, data, module, context = _read_and_build(cfg, console)
    require_same(data.data_hash, "Ranks have read different data: all must see the same files.", DataError)
    folder = from_first(lambda: _start_folder(cfg, folder, data, module))
    text = f"{describe_model(module.potential)}\nRun folder: {folder.path}"
    console.print(text, highlight=False, soft_wrap=True)
    return Preparation(cfg, settings, folder, console, data, context, module, SharedClocks(clocks.functions))


def _read_and_build(
    cfg: dict[str, Any], console: Console
) -> tuple[RunSettings, AtomicDataModule, ForceFieldModule, ModelContext]:
    """What every rank does by itself."""
    settings = RunSettings.from_config(cfg)
    if cfg["threads"]:
        torch.set_num_threads(cfg["threads"])
    rehearse(cfg, settings, console)
    lightning.seed_everything(cfg["seed"], workers=True, verbose=False)
    data = AtomicDataModule(**cfg["data"])
    data.read()
    data.print_report(console)
    labels = {label.name: label.frames for label in data.report["train"].labels}
    settings.losses.check_labels(labels, len(data.frames["train"]))
    potential, context = build_model(cfg, settings, data)
    module = ForceFieldModule(potential, settings.losses, settings.training.optimizer, tuple(settings.training.metrics))
    if data.frames["val"]:
        check_validation(settings.training, module, {row.name for row in data.report["val"].labels if row.frames})
    return settings, data, module, context


def check_validation(training: TrainingSettings, module: ForceFieldModule, labels: Collection[str]) -> None:
    """Raises ConfigError if a metric or the monitor asks for what none of the validation set's ``labels`` gives."""
    for name in training.metrics:
        if name not in labels:
            raise ConfigError(
                f"training.metrics: no validation frame has '{name}'; there are {', '.join(sorted(labels)) or 'none'}. "
                f"If the file has it under another name, give data.keys.THAT_NAME={name}; if not, leave it out."
            )
    module.check_monitor(training.monitor, labels)


def _start_folder(
    cfg: Mapping[str, Any], folder: RunFolder | None, data: AtomicDataModule, module: ForceFieldModule
) -> RunFolder:
    if folder:
        require_same_data(folder, data.data_hash)
    folder = folder or RunFolder.create(cfg["output"])
    write_start(cfg, folder, data, module)
    return folder


def write_start(cfg: Mapping[str, Any], folder: RunFolder, data: AtomicDataModule, module: ForceFieldModule) -> None:
    """What a run folder has from its start: config, versions, units of metrics, and what the data is."""
    with folder.config.open("w", encoding="utf-8") as file:
        OmegaConf.save(OmegaConf.create({**cfg, "resume": None, "output": str(folder.path)}), file)
    folder.write_json("run.json", provenance() | {"data_hash": data.data_hash, "units": module.units})
    data.save(folder.path)


def build_model(
    cfg: Mapping[str, Any], settings: RunSettings, data: AtomicDataModule
) -> tuple[Potential, ModelContext]:
    """The model with fresh weights, made for the data; also gives the data the neighbour lists that the model asks for.

    The model is made twice: which lists it needs is known from the first, how many neighbours atoms have then only from
    the lists.
    """
    data.build_neighbours(build_potential(cfg["model"], data.context(), settings.dtype).neighbour_lists)
    torch.manual_seed(cfg["seed"])
    context = data.context()
    potential = build_potential(cfg["model"], context, settings.dtype)
    if settings.training.compile:
        potential.compile_training_step()
    return potential, context


def describe_model(potential: Potential) -> str:
    """One line: weights of each part, cutoffs."""
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in potential.ordered_parts().items()}
    parts = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    lists = ", ".join(f"{name} {cutoff:g} Å" for name, cutoff in potential.neighbour_lists.items())
    return f"Model: {sum(counts.values()):,} weights ({parts}); neighbour lists: {lists or 'none'}"
