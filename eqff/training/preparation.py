"""From config to everything that a fit needs: data read, model made, run folder opened."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from omegaconf import OmegaConf
from rich.console import Console

from eqff.build import ModelContext
from eqff.checkpoints.atomic import replacing
from eqff.corrections import names_of_corrections
from eqff.data.module import AtomicDataModule
from eqff.errors import DataError
from eqff.potential import Potential
from eqff.ranks.clocks import SharedClocks
from eqff.ranks.group import from_first, is_first, require_same, together
from eqff.tracking.about import about_run
from eqff.tracking.run_folder import RunFolder
from eqff.training.budget import Clocks
from eqff.training.building import START, Built, build_model, earlier_start, elements_of_model
from eqff.training.finetuning.start import Start, rehearse_start
from eqff.training.module import ForceFieldModule
from eqff.training.rehearsal import rehearse
from eqff.training.resuming import require_same_data
from eqff.training.settings import RunSettings
from eqff.training.validating import check_validation, validation_notes

_WIDTH = 120  # of tables in a log file


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
        start: How a fine-tuning began; None for fresh weights.
    """

    cfg: dict[str, Any]
    settings: RunSettings
    folder: RunFolder
    console: Console
    data: AtomicDataModule
    context: ModelContext
    module: ForceFieldModule
    clocks: SharedClocks
    start: Start | None = None


def prepare(cfg: dict[str, Any], folder: RunFolder | None, clocks: Clocks) -> Preparation:
    """Checks the config, reads the data and builds the model; a folder is made once all of them are known to be right.

    Args:
        cfg: The resolved config.
        folder: Of the run that is resumed; None to make a new one.
        clocks: Of budgets and metrics.

    With several ranks all of them read and build, and the first one makes the folder.
    """
    console = Console(quiet=not is_first(), width=None if sys.stdout.isatty() else _WIDTH)
    with together():
        settings, data, module, built = _read_and_build(cfg, folder, console)
    require_same(data.data_hash, "Ranks have read different data: all must see the same files.", DataError)
    folder = from_first(lambda: _start_folder(cfg, folder, data, module, built.start))
    text = f"{describe_model(module.potential)}\nRun folder: {folder.path}"
    if corrections := names_of_corrections(cfg["model"]):
        text += f"\nNot trained with, but added by calculators and in simulations: {', '.join(corrections)}"
    console.print(text, highlight=False, soft_wrap=True)
    clocks = SharedClocks(clocks.functions)
    return Preparation(cfg, settings, folder, console, data, built.context, module, clocks, built.start)


def _read_and_build(
    cfg: dict[str, Any], folder: RunFolder | None, console: Console
) -> tuple[RunSettings, AtomicDataModule, ForceFieldModule, Built]:
    """What every rank does by itself."""
    settings = RunSettings.from_config(cfg)
    if cfg["threads"]:
        torch.set_num_threads(cfg["threads"])
    rehearse(cfg, settings, console)
    earlier = earlier_start(folder)
    if settings.finetune and not earlier:
        rehearse_start(settings.finetune, cfg["model"], settings.dtype, settings.packages)
    lightning.seed_everything(cfg["seed"], workers=True, verbose=False)
    data = AtomicDataModule(**cfg["data"])
    data.read(also_known=elements_of_model(settings.finetune, earlier))
    data.print_report(console)
    labels = {label.name: label.frames for label in data.report["train"].labels}
    settings.losses.check_labels(labels, len(data.frames["train"]))
    built = build_model(cfg, settings, data, earlier)
    if built.start:
        console.print(str(built.start), highlight=False, markup=False)
    training = settings.training
    module = ForceFieldModule(
        built.potential, settings.losses, training.optimizer, tuple(training.metrics), built.frozen
    )
    known = {row.name for row in data.report["val"].labels if row.frames} if data.frames["val"] else None
    check_validation(training, module, known)
    for line in (*settings.losses.unused(labels), *validation_notes(settings.losses, known)):
        console.print(line, highlight=False, soft_wrap=True)
    return settings, data, module, built


def _start_folder(
    cfg: Mapping[str, Any],
    folder: RunFolder | None,
    data: AtomicDataModule,
    module: ForceFieldModule,
    start: Start | None,
) -> RunFolder:
    if folder:
        require_same_data(folder, data.data_hash)
        folder.result.unlink(missing_ok=True)  # of a part that had ended; from here on the run is unfinished again
    folder = folder or RunFolder.create(cfg["output"])
    write_start(cfg, folder, data, module)
    if start:
        folder.write_json(START, start.to_dict())
    return folder


def write_start(cfg: Mapping[str, Any], folder: RunFolder, data: AtomicDataModule, module: ForceFieldModule) -> None:
    """What a run folder has from its start: config, versions, units of metrics, and what the data is."""
    with replacing(folder.config) as temporary:  # a run that goes on needs its config, whenever it is killed
        OmegaConf.save(OmegaConf.create({**cfg, "resume": None, "output": str(folder.path)}), temporary)
    folder.write_json("run.json", about_run(module.potential, data.data_hash, module.units))
    data.save(folder.path)


def describe_model(potential: Potential) -> str:
    """One line: weights of each part, cutoffs."""
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in potential.ordered_parts().items()}
    parts = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    lists = ", ".join(f"{name} {cutoff:g} Å" for name, cutoff in potential.neighbour_lists.items())
    return f"Model: {sum(counts.values()):,} weights ({parts}); neighbour lists: {lists or 'none'}"
