"""From a config to a potential: the only place where class names in a config become objects."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from eqff.errors import ConfigError, did_you_mean
from eqff.parts import Backbone, Exchange, Head, Part, Term
from eqff.potential import Potential

_ALLOWED_PACKAGES = ["eqff"]
GROUPS: dict[str, type[Part]] = {"exchanges": Exchange, "heads": Head, "terms": Term}


def allow(package: str) -> None:
    """Lets configs and model files name parts of another package too, for example your own ``my_parts``.

    Only code that the user imports or names calls this; a model file never can.
    """
    if package not in _ALLOWED_PACKAGES:
        _ALLOWED_PACKAGES.append(package)


@dataclass(frozen=True)
class ModelContext:
    """What a model takes from its training data. Stored in model files, so that a model is rebuilt without the data.

    Attributes:
        elements: Atomic numbers covered.
        reference_energies: E0 of each element, Z to eV.
        energy_scale: eV; a typical size of what is left to learn.
        mean_neighbours: Mean length of the local neighbour list.
    """

    elements: tuple[int, ...]
    reference_energies: dict[int, float]
    energy_scale: float = 1.0
    mean_neighbours: float = 16.0

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelContext:
        """The inverse of `to_dict`, also after JSON made the keys strings."""
        return cls(
            elements=tuple(int(z) for z in data["elements"]),
            reference_energies={int(z): float(e) for z, e in data["reference_energies"].items()},
            energy_scale=float(data["energy_scale"]),
            mean_neighbours=float(data["mean_neighbours"]),
        )


def locate(target: str, base: type = Part) -> type:
    """The class that a config's ``_target_`` names, if it may be built.

    Raises:
        ConfigError: Outside the allowed packages, absent, or not a subclass of ``base``.
    """
    module_name, _, class_name = target.rpartition(".")
    if module_name.split(".")[0] not in _ALLOWED_PACKAGES:
        raise ConfigError(
            f"'{target}' is not in an allowed package ({', '.join(_ALLOWED_PACKAGES)}). If it is your own part, call "
            f"eqff.allow('{target.split('.')[0]}') or give packages=[{target.split('.')[0]}] first."
        )
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"There is no '{target}' to build: {error}") from error
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise ConfigError(f"'{target}' can't stand here: a {base.__name__} is needed.")
    return found


def construct(config: Mapping[str, Any], base: type, offers: Mapping[str, Any], place: str) -> Any:
    """Builds one part from its config.

    Args:
        config: ``_target_`` and arguments.
        base: What the part must be.
        offers: Values from data and other parts; those that the constructor names and the config leaves out are passed.
        place: Where in the config this stands, for messages.
    """
    if "_target_" not in config:
        raise ConfigError(f"{place} has no '_target_': it must name the class to build.")
    part_class = locate(config["_target_"], base)
    accepted = inspect.signature(part_class).parameters
    arguments = {key: value for key, value in config.items() if key != "_target_"}
    for key in arguments:
        if key not in accepted:
            raise ConfigError(f"{place}.{key} is not a setting of {part_class.__name__}.{did_you_mean(key, accepted)}")
    offered = {key: value for key, value in offers.items() if key in accepted and key not in arguments}
    try:
        return part_class(**offered, **arguments)
    except TypeError as error:
        raise ConfigError(f"{place} ({part_class.__name__}): {error}") from error


def build_potential(config: Mapping[str, Any], context: ModelContext, dtype: torch.dtype = torch.float32) -> Potential:
    """A potential with fresh weights.

    Args:
        config: The ``model`` group as plain dicts: ``backbone``, and by name ``exchanges``, ``heads`` and ``terms``.
        context: What the model takes from the data.
        dtype: Of the weights.

    Raises:
        ConfigError: An unknown key, class or argument.
        ModelError: Parts that don't fit together.
    """
    known = {"backbone", *GROUPS}
    for key in config:
        if key not in known:
            raise ConfigError(f"model.{key} is not a part of a model.{did_you_mean(key, known)}")
    backbone_config = config.get("backbone")
    offers = asdict(context)
    if backbone_config:
        defaults = inspect.signature(locate(backbone_config["_target_"], Backbone)).parameters
        for name in ("channels", "num_passes"):
            offers[name] = backbone_config.get(name, defaults[name].default if name in defaults else None)
    previous = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        parts = {
            group: {
                name: construct(part, base, offers, f"model.{group}.{name}")
                for name, part in (config.get(group) or {}).items()
                if part
            }
            for group, base in GROUPS.items()
        }
        readers = [*parts["heads"].values(), *parts["terms"].values()]
        offers["out_degree"] = max((part.degree for part in readers), default=0)
        backbone = construct(backbone_config, Backbone, offers, "model.backbone") if backbone_config else None
    finally:
        torch.set_default_dtype(previous)
    return Potential(backbone, parts["terms"], parts["heads"], parts["exchanges"], elements=context.elements)
