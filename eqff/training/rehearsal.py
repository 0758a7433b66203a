"""Model, losses and optimizer made once for stand-in data, so that their faults show before any file is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ase.data import atomic_numbers
from rich.console import Console

from eqff.build import ModelContext, build_potential
from eqff.errors import ConfigError
from eqff.parts import Exchange, Part, Term
from eqff.potential import Potential
from eqff.training.losses import DERIVATIVES
from eqff.training.module import ForceFieldModule
from eqff.training.settings import RunSettings

STAND_IN = ModelContext(elements=(1, 6, 7, 8), reference_energies={1: 0.0, 6: 0.0, 7: 0.0, 8: 0.0})
"""What a model takes from data, before there is any."""


def stand_in(model: Mapping[str, Any]) -> ModelContext:
    """`STAND_IN`, of the elements that all tables of a config name, where it has some: {O: 6, H: 1}, for instance.

    Args:
        model: The config under ``model``.
    """
    shared = [set(table) for table in _element_tables(model)]
    elements = tuple(sorted(set.intersection(*shared))) if shared else ()
    return (
        replace(STAND_IN, elements=elements, reference_energies=dict.fromkeys(elements, 0.0)) if elements else STAND_IN
    )


def _element_tables(config: Any) -> Iterator[list[int]]:
    """Atomic numbers of the keys of each mapping from elements to numbers."""
    if not isinstance(config, Mapping):
        return
    numbers = [int(key) if str(key).isdigit() else atomic_numbers.get(str(key), 0) for key in config]
    if numbers and all(numbers) and all(isinstance(value, (int, float)) for value in config.values()):
        yield numbers
    for value in config.values():
        yield from _element_tables(value)


def rehearse(cfg: Mapping[str, Any], settings: RunSettings, console: Console) -> None:
    """Builds model and optimizer and throws them away.

    Args:
        cfg: The resolved config.
        settings: The same, checked.
        console: Gets a line if the energy is left untrained, or steps that should be compiled are not.

    Raises:
        ConfigError: Parts, losses, metrics or groups of the optimizer that don't fit together, a head that nothing
            trains, or a part that can't be compiled.
        ModelError: A part reads a field that no part writes.
    """
    potential, training = build_potential(cfg["model"], stand_in(cfg["model"]), settings.dtype), settings.training
    if training.compile:
        potential.compile_training_step(required=training.compile != "auto")
        if not settings.losses.derivatives:
            text = "training.compile: no loss asks for forces or stress; such steps run uncompiled."
            console.print(text, highlight=False, soft_wrap=True)
    module = ForceFieldModule(potential, settings.losses, training.optimizer, tuple(training.metrics))
    module.check_monitor(training.monitor)
    require_trained(potential, settings.losses.fields, console)
    module.configure_optimizers()


def require_trained(potential: Potential, losses: Iterable[str], console: Console) -> None:
    """Refuses heads and exchanges that no loss reaches: they would be saved with the weights that they began with.

    Args:
        potential: The model.
        losses: Fields that have a loss.
        console: Gets a line for energy terms that are left untrained: there is always one, so that isn't refused.

    Raises:
        ConfigError: Names the first of them, and both remedies.
    """
    parts = potential.ordered_parts()
    untrained = [place for place in unreached(parts, losses) if _trainable(parts[place])]
    refused = [place for place in untrained if not place.startswith("terms.")]
    if refused:
        place = refused[0]
        field = (*parts[place].writes, "FIELD")[0]
        raise ConfigError(
            f"model.{place}: nothing would train it, because '{field}' has no loss and no part that has one reads it. "
            f"Give it one (training.losses.{field}.weight=1), or leave the part out: ~model.{place}"
        )
    if untrained:
        text = f"No loss reaches {', '.join(untrained)}: the energies and forces of this model will mean nothing."
        console.print(text, highlight=False, soft_wrap=True)


def unreached(parts: Mapping[str, Part], losses: Iterable[str]) -> list[str]:
    """The parts whose output enters no loss.

    Args:
        parts: By place, in the order in which they run.
        losses: Fields that have a loss.
    """
    wanted, missed = set(losses), []
    energy = bool(wanted & {"energy", *DERIVATIVES})
    for place, part in reversed(parts.items()):
        written = {*part.writes, *(f"pass_{name}" for name in part.writes if isinstance(part, Exchange))}
        if isinstance(part, Term):
            written.add(f"energy_{place.partition('.')[2]}")
        shapes_features = isinstance(part, Exchange) and bool(wanted & {"features", "pass_scalars"})
        if (energy and place.startswith("terms.")) or shapes_features or wanted & written:
            wanted |= set(part.reads)
        else:
            missed.append(place)
    return missed[::-1]


def _trainable(part: Part) -> bool:
    return any(parameter.requires_grad for parameter in part.parameters())
