"""Energies of the elements, which are subtracted before anything is learned: isolated atoms, least squares, or
given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from rich.table import Table

from eqff.data.atomic_data import AtomicData
from eqff.data.keys import KeyMap
from eqff.data.reading import PathLike, read_records
from eqff.data.units import conversion
from eqff.errors import ConfigError, DataError, did_you_mean


@dataclass(frozen=True)
class ReferenceSet:
    """One energy per element.

    Attributes:
        energies: Atomic number to eV.
        method: How they came about.
        notes: What to keep in mind about them.
    """

    energies: dict[int, float]
    method: str
    notes: tuple[str, ...] = field(default=())

    def table(self) -> Table:
        """For the terminal."""
        table = Table("element", "E0 (eV)")
        for number, energy in sorted(self.energies.items()):
            table.add_row(chemical_symbols[number], f"{energy:.6f}")
        return table


def fit_reference_energies(frames: Sequence[AtomicData]) -> ReferenceSet:
    """Least squares of the energies per atom against the composition, in float64.

    Where the compositions do not determine all elements (for example frames of one molecule), the solution of smallest
    norm is taken: it is exact for these compositions and means nothing for others, which a note says.

    Raises:
        DataError: No frame has an energy, or an element occurs only in frames that have none.
    """
    with_energy = [frame for frame in frames if frame.has("energy")]
    elements = elements_of(frames)
    if not with_energy:
        raise DataError(
            "Reference energies can't be fitted: no frame has an energy. Give them instead "
            "(data.reference_energies={H: -13.6, ...}), zero if energies don't matter."
        )
    missing = set(elements) - set(elements_of(with_energy))
    if missing:
        raise DataError(f"No reference energy can be fitted for {_symbols(missing)}: no frame with it has an energy.")
    counts = np.stack([composition(frame, elements) for frame in with_energy])
    sizes = counts.sum(axis=1)
    energies = np.array([float(frame.energy) for frame in with_energy])
    solution, _, rank, _ = np.linalg.lstsq(counts / sizes[:, None], energies / sizes, rcond=None)
    notes = []
    if rank < len(elements):
        notes.append(
            f"the compositions determine only {rank} of {len(elements)} energies ({_symbols(elements)}); the values "
            "are the smallest that fit, right for these compositions and meaningless for others: for a model that "
            "has to leave them, give isolated-atom energies"
        )
    return ReferenceSet(dict(zip(elements, solution.tolist(), strict=True)), "least squares", tuple(notes))


def isolated_atom_energies(frames: Sequence[AtomicData]) -> ReferenceSet:
    """The lowest energy of each element among frames of one neutral atom.

    Raises:
        DataError: An element of the frames has no such frame.
    """
    singles = [frame for frame in frames if frame.num_nodes == 1 and frame.has("energy")]
    neutral = [(int(frame.numbers), float(frame.energy)) for frame in singles if float(frame.total_charge) == 0]
    return _complete(_lowest(neutral), elements_of(frames), "isolated atoms among the frames")


def reference_energies_from_file(
    path: PathLike, elements: Sequence[int], keys: Mapping[str, str | None], units: Mapping[str, str]
) -> ReferenceSet:
    """The same from a file of isolated atoms, of which neither charge nor multiplicity need be stated.

    Raises:
        DataError: A frame has more than one atom or no energy, or an element is missing.
    """
    key_map, found = KeyMap(keys, ("energy",)), []
    for record in read_records(path):
        candidates = key_map.candidates(record)
        if len(record.numbers) != 1 or "energy" not in candidates:
            raise DataError(f"{record.place}: reference energies need one atom and an energy ({record.keys_text()}).")
        charge = record.structure[candidates["total_charge"][0]] if "total_charge" in candidates else 0
        if float(charge) == 0:
            factor = conversion(units.get("energy", "eV"), "eV", "'energy'")
            energy = float(record.structure[key_map.choose(record, "energy")]) * factor
            found.append((int(record.numbers[0]), energy))
    return _complete(_lowest(found), elements, f"isolated atoms of {path}")


def given_reference_energies(energies: Mapping[str | int, float], elements: Sequence[int]) -> ReferenceSet:
    """From a table of element symbols (or atomic numbers) to eV.

    Raises:
        ConfigError: A symbol that is no element.
        DataError: An element of the data is missing.
    """
    values = {}
    for symbol, energy in energies.items():
        number = atomic_numbers.get(str(symbol)) or (int(symbol) if str(symbol).isdigit() else None)
        if number is None:
            known = [name for name in atomic_numbers if name != "X"]
            raise ConfigError(f"reference_energies: '{symbol}' is no element.{did_you_mean(str(symbol), known)}")
        values[number] = float(energy)
    return _complete(values, elements, "given")


METHODS: dict[str, Callable[[Sequence[AtomicData]], ReferenceSet]] = {
    "least_squares": fit_reference_energies,
    "isolated_atoms": isolated_atom_energies,
}


def reference_energies(
    choice: str | Mapping[str | int, float],
    frames: Sequence[AtomicData],
    *,
    keys: Mapping[str, str | None] | None = None,
    units: Mapping[str, str] | None = None,
) -> ReferenceSet:
    """Reference energies of all elements of the frames.

    Args:
        choice: ``"least_squares"``, ``"isolated_atoms"`` (frames of one atom among these), a file of isolated atoms,
            or a table of element to eV.
        frames: The training set.
        keys: For a file: its keys.
        units: For a file: its units.
    """
    if isinstance(choice, Mapping):
        found = given_reference_energies(choice, elements_of(frames))
    elif choice in METHODS:
        found = METHODS[choice](frames)
    else:
        if not Path(choice).suffix:  # a misspelt method rather than a file
            raise ConfigError(f"reference_energies can't be '{choice}'.{did_you_mean(choice, METHODS)} Or a file.")
        found = reference_energies_from_file(choice, elements_of(frames), keys or {}, units or {})
    left = energies_above(frames, found.energies)
    if len(left) == 0:
        return found
    text = f"energies lie {left.mean():+.4f} eV/atom above them, with a spread of {left.std():.4f}"
    return replace(found, notes=(f"{text}, over {len(left)} frames", *found.notes))


def energies_above(frames: Sequence[AtomicData], reference: Mapping[int, float]) -> np.ndarray:
    """Energies per atom above the reference energies (Z to eV) of the frames that have energies, eV, float64."""
    elements = sorted(reference)
    values = np.array([reference[number] for number in elements])
    known = [frame for frame in frames if frame.has("energy")]
    return np.array([(float(f.energy) - composition(f, elements) @ values) / f.num_nodes for f in known])


def elements_of(frames: Sequence[AtomicData]) -> tuple[int, ...]:
    """The atomic numbers that occur, ascending."""
    return tuple(sorted({number for frame in frames for number in frame.numbers.unique().tolist()}))


def composition(frame: AtomicData, elements: Sequence[int]) -> np.ndarray:
    """How many atoms of each element a structure has, float64."""
    counts = np.bincount(frame.numbers.numpy(), minlength=max(elements) + 1)
    return counts[list(elements)].astype(np.float64)


def _lowest(pairs: Sequence[tuple[int, float]]) -> dict[int, float]:
    lowest: dict[int, float] = {}
    for number, energy in pairs:
        lowest[number] = min(energy, lowest.get(number, np.inf))
    return lowest


def _complete(energies: Mapping[int, float], elements: Sequence[int], method: str) -> ReferenceSet:
    missing = set(elements) - set(energies)
    if missing:
        raise DataError(
            f"Reference energies ({method}): {_symbols(missing)} missing, there are only "
            f"{_symbols(energies) or 'none'}. Add them, or fit all by data.reference_energies=least_squares."
        )
    return ReferenceSet({number: energies[number] for number in elements}, method)


def _symbols(numbers: Sequence[int] | set[int] | Mapping[int, float]) -> str:
    return ", ".join(chemical_symbols[number] for number in sorted(numbers))
