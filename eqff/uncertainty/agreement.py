"""Whether models can be averaged: the same elements, the same zero and level of energy, the same inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ase.data import chemical_symbols

from eqff.checkpoints.metadata import ModelMetadata
from eqff.errors import ModelError
from eqff.potential import Potential
from eqff.uncertainty.digest import weights_digest

MAX_E0_DIFFERENCE = 0.1
"""eV. Fits of E0 to resampled data differ by some meV; another zero of energy differs by eV."""


def require_agreement(members: Sequence[Potential], names: Sequence[str]) -> None:
    """Checks that the mean of these models' energies and forces means something.

    Args:
        members: In any order.
        names: Of each, for messages.

    Raises:
        ModelError: Says which model differs from the first, in what, and what to do.
    """
    if not members:
        raise ModelError("An ensemble needs at least one model; give a list of run folders or model files.")
    first = members[0]
    for member, name in zip(members[1:], names[1:], strict=True):
        pair = f"'{name}' can't be in an ensemble with '{names[0]}'"
        if member.elements != first.elements:
            raise ModelError(
                f"{pair}: it is made for {_symbols(member.elements)}, the other for {_symbols(first.elements)}. "
                "Average models of the same elements only."
            )
        if member.dtype != first.dtype:
            raise ModelError(f"{pair}: its weights are {member.dtype}, the other's {first.dtype}. Load with dtype=...")
        if member.reads_field != first.reads_field:
            raise ModelError(f"{pair}: only one of them answers an external electric field.")
        _require_same_energies(member.metadata, first.metadata, pair)


def require_different(members: Sequence[Potential], names: Sequence[str]) -> None:
    """Checks that no model is there twice: it would agree with itself, and the spread would be too small.

    Args:
        members: In any order.
        names: Of each, for messages.

    Raises:
        ModelError: Two have the same weights.
    """
    seen: dict[str, str] = {}
    for member, name in zip(members, names, strict=True):
        digest = weights_digest(member)
        if digest in seen:
            raise ModelError(
                f"'{name}' can't be in an ensemble with '{seen[digest]}': they are one model, weight by weight, and "
                "would make it look more certain than it is. Name each once, and train members with different seeds."
            )
        seen[digest] = name


def _require_same_energies(own: ModelMetadata | None, other: ModelMetadata | None, pair: str) -> None:
    """Raises ModelError where model files say that energies are not of the same level or zero."""
    if own is None or other is None:  # models made in memory: nothing is known
        return
    mine, theirs = own.model_context(), other.model_context()
    if mine.level_of_theory != theirs.level_of_theory:
        raise ModelError(
            f"{pair}: its energies are at the level of theory '{mine.level_of_theory or 'not stated'}', the other's at "
            f"'{theirs.level_of_theory or 'not stated'}'. Average models of one level only."
        )
    if (mine.charge_reference is None) != (theirs.charge_reference is None):
        raise ModelError(f"{pair}: only one of them has reference energies of charges (data.charge_reference).")
    for z, energy in mine.reference_energies.items():
        difference = energy - theirs.reference_energies.get(z, float("nan"))
        if not abs(difference) <= MAX_E0_DIFFERENCE:
            raise ModelError(
                f"{pair}: its reference energy of {chemical_symbols[z]} is {difference:+.4g} eV from the other's, more "
                f"than {MAX_E0_DIFFERENCE} eV: their zeros of energy are not the same. Train both with the same "
                "data.reference_energies."
            )


def common_metadata(members: Sequence[Potential]) -> ModelMetadata | None:
    """What can be said of all members: states that each was trained on, the longest of their shortest distances.

    Returns:
        None if a member says nothing about itself.
    """
    about = [member.metadata for member in members if member.metadata is not None]
    if len(about) < len(members):
        return None
    training = dict(about[0].training)
    if "states" in training:
        seen = [{_state(row) for row in other.training.get("states") or []} for other in about]
        training["states"] = [row for row in training["states"] if all(_state(row) in states for states in seen)]
    distances = [other.training.get("shortest_distance") for other in about]
    if known := [float(d) for d in distances if isinstance(d, (int, float))]:
        training["shortest_distance"] = max(known)
    return replace(about[0], training=training)


def _state(row: dict[str, Any]) -> tuple[int, int]:
    return int(row["total_charge"]), int(row["multiplicity"])


def _symbols(elements: Sequence[int]) -> str:
    return ", ".join(chemical_symbols[z] for z in elements)
