"""Energies of the elements, which are subtracted before anything is learned: isolated atoms, least squares, or
given; and what the total charge and the level of theory add to them. docs/reference_energies.md says which to take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eqff.data.atomic_data import AtomicData
from eqff.data.charge_reference import ChargeReference
from eqff.data.differences import require_one_base
from eqff.data.energy_fit import EnergyFit, Solution
from eqff.data.energy_rows import EnergyRows
from eqff.data.frame_sequence import as_frames
from eqff.data.isolated_atoms import (
    AtomTable,
    atoms_from_file,
    charges_to_energies,
    given_atoms,
    lowest_energies,
    symbols,
)
from eqff.data.moments import Moments
from eqff.data.odd_files import SharedCompositions, odd_file_notes
from eqff.data.reference_set import ReferenceSet
from eqff.errors import ConfigError, DataError, did_you_mean

Choice = str | Mapping[Any, Any]
ChargeChoice = str | Mapping[Any, float] | None
CHARGE_METHODS = ("linear", "offsets", "isolated_ions")


def reference_energies(
    choice: Choice,
    frames: Sequence[AtomicData],
    *,
    keys: Mapping[str, str | None] | None = None,
    units: Mapping[str, str] | None = None,
    charge: ChargeChoice = None,
    level: str | None = None,
) -> ReferenceSet:
    """Reference energies of structures; see `reference_from_rows`."""

    def chunks() -> Iterable[EnergyRows]:
        return (columns.energy_rows() for columns in as_frames(frames).chunks())

    return reference_from_rows(choice, chunks, keys=keys, units=units, charge=charge, level=level)


def reference_from_rows(
    choice: Choice,
    chunks: Callable[[], Iterable[EnergyRows]],
    *,
    keys: Mapping[str, str | None] | None = None,
    units: Mapping[str, str] | None = None,
    charge: ChargeChoice = None,
    level: str | None = None,
) -> ReferenceSet:
    """Reference energies of all elements of a training set of any size, in two passes over its chunks.

    Args:
        choice: ``"least_squares"``, ``"isolated_atoms"`` (frames of one atom among these), ``"none"`` (zero, for
            energies that hold none of atoms, as interaction energies), a file of isolated atoms, or a table of element
            to eV, or of element to charge to eV.
        chunks: Gives the training set anew at each call.
        keys: For a file: its keys.
        units: For a file: its units.
        charge: What depends on the total charge: None, ``"linear"`` or ``"offsets"`` (fitted), ``"isolated_ions"``
            (from the same atoms as ``choice``), or a table of total charge to eV.
        level: The level of theory that the model's energies are to be on, where the set mixes several; None where it
            does not, or where they are not to be told apart.

    Raises:
        ConfigError: Settings that don't exist or don't go together.
        DataError: What they need is not in the data.
    """
    fit, shared = EnergyFit(), SharedCompositions()
    for rows in chunks():
        fit.add(rows)
        shared.add(rows)
    charge = charge if charge is not None else _implied(choice, level)
    _check_charge(charge)
    solution = _solution(choice, charge, fit, by_level=level is not None)
    if choice == "least_squares":
        reference, atoms = _fitted(fit, solution, level), None
    elif level is None:
        atoms = _atom_table(choice, fit, keys or {}, units or {})
        reference = ReferenceSet(atoms.neutral(fit.elements), atoms.method)
    else:
        atoms = _atoms_of_level(choice, fit, level)
        reference = _by_level(choice, fit, level)
    found = replace(reference, charge=_charge_reference(charge, atoms, solution, fit), level=level or _only(fit))
    odd = odd_file_notes(fit, shared)
    notes = (*_residual_note(found, chunks()), *found.notes, *odd)
    return replace(found, notes=notes, odd=" ".join(odd))


def _solution(choice: Choice, charge: ChargeChoice, fit: EnergyFit, *, by_level: bool) -> Solution | None:
    """The least-squares solution if something of it is needed."""
    if choice != "least_squares" and charge not in ("linear", "offsets"):
        return None
    if not fit.levels:
        raise DataError(
            "Reference energies can't be fitted: no frame has an energy. Where energies don't matter: "
            "data.reference_energies=none; otherwise give them: 'data.reference_energies={H: -13.6, ...}'."
        )
    missing = fit.elements - fit.elements_with_energy()
    if missing:
        raise DataError(f"No reference energy can be fitted for {symbols(missing)}: no frame with it has an energy.")
    return fit.least_squares(charge if charge in ("linear", "offsets") else None, by_level=by_level)


def _fitted(fit: EnergyFit, solution: Solution, level: str | None) -> ReferenceSet:
    owners = [""] if level is None else list(fit.levels)
    tables = {owner: {p[2]: e for p, e in solution.values.items() if p[:2] == ("element", owner)} for owner in owners}
    main = tables[level or ""]
    _require_elements(fit, level, main)
    notes = []
    if solution.rank < len(solution.values):
        notes.append(
            f"the compositions determine only {solution.rank} of {len(solution.values)} energies "
            f"({symbols(fit.elements)}{_more(solution)}); the values are the smallest that fit, right for these "
            "compositions and meaningless for others: for a model that has to leave them, give isolated-atom energies"
        )
    others = {
        name: {z: e - main[z] for z, e in table.items()} for name, table in tables.items() if name != (level or "")
    }
    return ReferenceSet(dict(sorted(main.items())), "least squares", tuple(notes), level_offsets=others)


def _more(solution: Solution) -> str:
    kinds = {p[0] for p in solution.values} - {"element"}
    owners = {p[1] for p in solution.values if p[0] == "element"}
    return (", of each level of theory" if len(owners) > 1 else "") + (", and of charge states" if kinds else "")


def _require_elements(fit: EnergyFit, level: str | None, main: Mapping[int, float]) -> None:
    missing = fit.elements - set(main)
    if missing:
        raise DataError(
            f"No frame at the level of theory '{level}' has {symbols(missing)} and an energy, so the energies of "
            "other levels can't be shifted onto it. Take another level as data.main_level, or leave those frames out."
        )


def _atom_table(choice: Choice, fit: EnergyFit, keys: Mapping[str, str | None], units: Mapping[str, str]) -> AtomTable:
    """Isolated atoms as chosen, of whatever level of theory."""
    if isinstance(choice, Mapping):
        return AtomTable(given_atoms(choice), "given")
    if choice == "none":
        return AtomTable({z: {0: 0.0} for z in fit.elements}, "none")
    if choice == "isolated_atoms":
        singles = ((z, q, e) for (_, z, q), e in fit.lowest.items())
        return AtomTable(lowest_energies(singles), "isolated atoms among the frames")
    if not Path(choice).suffix:  # a misspelt method rather than a file
        known = ["least_squares", "isolated_atoms", "none"]
        raise ConfigError(f"data.reference_energies can't be '{choice}'.{did_you_mean(choice, known)} Or a file.")
    found, levels = atoms_from_file(choice, keys, units)
    remedy = "Subtract the base from these too (python -m eqff.delta), or take data.reference_energies=least_squares"
    require_one_base([*fit.levels, *levels], f"The training set and isolated atoms of {choice}", remedy)
    return AtomTable(lowest_energies(found), f"isolated atoms of {choice}")


def _atoms_of_level(choice: Choice, fit: EnergyFit, level: str) -> AtomTable:
    """Isolated atoms of one level of theory, where a set mixes several."""
    if isinstance(choice, Mapping) and level in choice:
        return AtomTable(given_atoms(choice[level]), f"given for '{level}'")
    if choice == "isolated_atoms":
        singles = ((z, q, e) for (name, z, q), e in fit.lowest.items() if name == level)
        return AtomTable(lowest_energies(singles), f"isolated atoms at the level '{level}' among the frames")
    raise ConfigError(
        f"data.mixed_levels=offset needs energies of the elements at the level '{level}': take "
        "data.reference_energies=least_squares or isolated_atoms, or give a table for each level: "
        f"data.reference_energies={{'{level}': {{H: -13.6, ...}}, ...}}."
    )


def _by_level(choice: Choice, fit: EnergyFit, level: str) -> ReferenceSet:
    atoms = {name: _atoms_of_level(choice, fit, name) for name in fit.levels}
    main = atoms[level].neutral(fit.elements)
    needed = {name: table.neutral(fit.elements_with_energy(name)) for name, table in atoms.items() if name != level}
    others = {name: {z: e - main[z] for z, e in table.items()} for name, table in needed.items()}
    return ReferenceSet(main, atoms[level].method, level_offsets=others)


def _check_charge(charge: ChargeChoice) -> None:
    if isinstance(charge, str) and charge not in CHARGE_METHODS:
        raise ConfigError(
            f"data.charge_reference can't be '{charge}'.{did_you_mean(charge, CHARGE_METHODS)} Or null, or "
            "{charge: eV}."
        )


def _charge_reference(
    charge: ChargeChoice, atoms: AtomTable | None, solution: Solution | None, fit: EnergyFit
) -> ChargeReference | None:
    if isinstance(charge, Mapping):
        return ChargeReference(offsets={0: 0.0} | charges_to_energies(charge, "data.charge_reference"))
    if charge == "linear":
        return ChargeReference(slope=solution.values.get(("slope",), 0.0))
    if charge == "offsets":
        fitted = {q: solution.values.get(("offset", q), 0.0) for q in sorted(fit.charges)}
        return ChargeReference(offsets=fitted)
    if charge is None:
        return None
    if atoms is None:
        raise ConfigError(
            "data.charge_reference=isolated_ions takes ions from where the atoms come from: set "
            "data.reference_energies to isolated_atoms, to a file of isolated atoms, or to a table "
            "{H: {0: -13.6, 1: 0.0}, ...}."
        )
    return atoms.ions(fit.elements)


def _implied(choice: Choice, level: str | None) -> str | None:
    """A table that holds ions is meant to be used."""
    table = choice.get(level, choice) if isinstance(choice, Mapping) else {}
    return (
        "isolated_ions" if any(isinstance(states, Mapping) and len(states) > 1 for states in table.values()) else None
    )


def _residual_note(reference: ReferenceSet, chunks: Iterable[EnergyRows]) -> list[str]:
    """A line on how far energies lie above a reference; none if there are no energies."""
    left = Moments()
    for rows in chunks:
        left.add(reference.above(rows.with_energies()))
    if not left.count:
        return []
    mean = round(left.mean, 4) + 0.0
    text = f"energies lie {mean:+.4f} eV/atom above them, with a spread of {left.spread:.4f} eV/atom"
    return [f"{text}, over {left.count} frames"]


def _only(fit: EnergyFit) -> str:
    """The level of theory that all frames with energies declare, empty if they don't."""
    return next(iter(fit.levels)) if len(fit.levels) == 1 else ""


def elements_of(frames: Sequence[AtomicData]) -> tuple[int, ...]:
    """The atomic numbers that occur, ascending."""
    found = (np.unique(columns.values["numbers"]).tolist() for columns in as_frames(frames).chunks())
    return tuple(sorted(set().union(*found)))
