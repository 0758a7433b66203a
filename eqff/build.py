"""From the config of a model to a potential."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch

from eqff.construct import check_part, construct, part_class
from eqff.contributions import check_contributions
from eqff.data.charge_reference import ChargeReference
from eqff.errors import ConfigError, did_you_mean
from eqff.field_check import check_fields
from eqff.fragments.fragments import Fragments
from eqff.packages import allow as allow
from eqff.parts import Backbone, Exchange, Head, Part, Term
from eqff.potential import Potential
from eqff.validation import parameters_of

GROUPS: dict[str, type[Part]] = {"exchanges": Exchange, "heads": Head, "terms": Term}
BACKBONE = "model.backbone"
FRAGMENTS = "fragments"
CORRECTIONS = "corrections"
"""Group of energy terms that labels don't hold: not trained with, added where a model is used (`eqff.corrections`)."""
CHARGE_REFERENCE = "charge_reference"
_CHARGE_TERM = "eqff.terms.charge_reference.ChargeReferenceEnergy"
_FROM_BACKBONE = ("channels", "num_passes")


@dataclass(frozen=True)
class ModelContext:
    """What a model takes from its training data. Stored in model files, so that a model is rebuilt without the data.

    Attributes:
        elements: Atomic numbers covered.
        reference_energies: E0 of each element, Z to eV.
        energy_scale: eV; a typical size of what is left to learn.
        mean_neighbours: Mean length of the local neighbour list.
        charge_reference: What the reference energy adds for the total charge; None for nothing.
        level_of_theory: That the energies are on; empty where the data declare none.
        level_offsets: Other level of theory to Z to eV: what its energies lie above those of ``level_of_theory``.
    """

    elements: tuple[int, ...]
    reference_energies: dict[int, float]
    energy_scale: float = 1.0
    mean_neighbours: float = 16.0
    charge_reference: ChargeReference | None = None
    level_of_theory: str = ""
    level_offsets: dict[str, dict[int, float]] = field(default_factory=dict)

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
            charge_reference=ChargeReference.from_dict(data["charge_reference"]),
            level_of_theory=str(data["level_of_theory"]),
            level_offsets={
                str(level): {int(z): float(e) for z, e in table.items()}
                for level, table in data["level_offsets"].items()
            },
        )


def build_potential(config: Mapping[str, Any], context: ModelContext, dtype: torch.dtype = torch.float32) -> Potential:
    """A potential with fresh weights.

    Args:
        config: The ``model`` group as plain dicts: ``backbone``, and by name ``exchanges``, ``heads``, ``terms`` and
            ``corrections``, which are only checked here; and ``fragments``, which takes structures apart.
        context: What the model takes from the data.
        dtype: Of the weights.

    Raises:
        ConfigError: An unknown key, class or argument.
        ModelError: Parts that don't fit together.
    """
    config = with_charge_reference(config, context)
    check_model(config)
    backbone_config = config.get("backbone")
    offers = asdict(context) | _features_of(backbone_config)
    previous = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        parts = {
            group: {name: construct(part, base, offers, place) for name, part, place in _members(config, group)}
            for group, base in GROUPS.items()
        }
        readers = [*parts["heads"].values(), *parts["terms"].values()]
        offers["out_degree"] = max((part.degree for part in readers), default=0)
        backbone = construct(backbone_config, Backbone, offers, BACKBONE) if backbone_config else None
        taken_apart = config.get(FRAGMENTS)
        fragments = construct(taken_apart, Fragments, offers, f"model.{FRAGMENTS}") if taken_apart else None
    finally:
        torch.set_default_dtype(previous)
    potential = Potential(
        backbone,
        parts["terms"],
        parts["heads"],
        parts["exchanges"],
        elements=context.elements,
        fragments=fragments,
    )
    build_corrections(config, context, potential)  # what is wrong with them is said now and not after the training
    return potential


def build_corrections(config: Mapping[str, Any], context: ModelContext, potential: Potential) -> dict[str, Term]:
    """The terms of ``corrections``, which fit the potential but are no part of it.

    Args:
        config: The ``model`` group, checked.
        context: What the model takes from the data.
        potential: Built from the same config.

    Raises:
        ConfigError: Arguments that a constructor refuses, a name that a term has already, or a term that learns.
        ModelError: One reads a field that nothing writes, or holds a contribution that the model has.
    """
    terms: dict[str, Term] = {}
    for name, part, place in _members(config, CORRECTIONS):
        terms[name] = construct(part, Term, asdict(context) | _features_of(config.get("backbone")), place)
        if name in potential.terms:
            raise ConfigError(f"{place}: there is a term of this name already. Give the correction another one.")
        if any(True for _ in terms[name].parameters()):
            raise ConfigError(
                f"{place} has parameters to learn, but corrections are not trained with: put it under model.terms."
            )
    if terms:
        check_fields(potential.ordered_parts() | {f"{CORRECTIONS}.{name}": term for name, term in terms.items()})
        check_contributions(potential.heads, {**potential.terms, **terms})
    return terms


def with_charge_reference(config: Mapping[str, Any], context: ModelContext) -> Mapping[str, Any]:
    """The config with the term of `ModelContext.charge_reference` where the data have one: a setting of the data alone,
    so that no model can be trained with it and used without."""
    terms = config.get("terms") or {}
    if context.charge_reference is None or not isinstance(terms, Mapping) or CHARGE_REFERENCE in terms:
        return config
    return {**config, "terms": {**terms, CHARGE_REFERENCE: {"_target_": _CHARGE_TERM}}}


def check_model(config: Mapping[str, Any]) -> None:
    """Checks every part of a ``model`` config (names, types and ranges of arguments) without building anything.

    Raises:
        ConfigError: With the full key of what is wrong, and what would be right.
    """
    known = (BACKBONE.removeprefix("model."), *GROUPS, CORRECTIONS, FRAGMENTS)
    for key in config:
        if key not in known:
            raise ConfigError(f"model.{key} is not a part of a model.{did_you_mean(str(key), known)}")
    context = [entry.name for entry in fields(ModelContext)]
    if config.get("backbone"):  # first: the others take their number of channels from it
        check_part(config["backbone"], Backbone, [*context, "out_degree"], BACKBONE)
    if config.get(FRAGMENTS):
        check_part(config[FRAGMENTS], Fragments, context, f"model.{FRAGMENTS}")
    for group, base in (GROUPS | {CORRECTIONS: Term}).items():
        for _, part, place in _members(config, group):
            check_part(part, base, [*context, *(_FROM_BACKBONE if config.get("backbone") else ())], place)


def _members(config: Mapping[str, Any], group: str) -> list[tuple[str, Any, str]]:
    """Name, config and place of every part of a group; those set to null are left out."""
    members = config.get(group) or {}
    if not isinstance(members, Mapping):
        raise ConfigError(f"model.{group} is {members!r}, but must be a section with a part under each name.")
    return [(name, part, f"model.{group}.{name}") for name, part in members.items() if part]


def _features_of(backbone: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the other parts take from the backbone's config: its argument, or its constructor's default."""
    if not backbone:
        return {}
    parameters, _ = parameters_of(part_class(backbone, Backbone, BACKBONE))
    defaults = {name: parameters[name].default for name in _FROM_BACKBONE if name in parameters}
    return {name: backbone.get(name, defaults.get(name)) for name in _FROM_BACKBONE}
