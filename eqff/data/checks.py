"""What makes a set of structures unusable, and what is only worth a line in the report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.spatial.distance import pdist

from eqff.data.atomic_data import AtomicData, known_rows
from eqff.data.neighbours import neighbour_pairs
from eqff.errors import DataError

_SEARCH_RADIUS = 1.0  # Å; images are looked for this far away, which every bond but none of the errors exceeds
_LARGE = 1000  # atoms from which on all distances cost more than a neighbour search


def check_frame(frame: AtomicData, min_distance: float = 0.1) -> None:
    """Checks one structure as it was read, before missing labels are filled up.

    Args:
        frame: One structure.
        min_distance: Å; two nuclei closer than this are an error in the file.

    Raises:
        DataError: NaN or infinite numbers, coinciding atoms.
    """
    check_finite(frame)
    check_distances(frame, min_distance)


def check_set(frames: Sequence[AtomicData]) -> list[str]:
    """Checks structures that were read together.

    Args:
        frames: With labels filled up by `fill_missing_labels`.

    Returns:
        Lines on what is odd but possible.

    Raises:
        DataError: A label is zero throughout.
    """
    return [*check_zeros(frames), *check_sums(frames)]


def check_finite(frame: AtomicData) -> None:
    """Raises DataError if a position, cell or label is NaN or infinite."""
    for name in ("positions", "cell", *frame.labels):
        values = frame[name].numpy()
        bad = ~np.isfinite(values)
        if not bad.any():
            continue
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"{frame.place}: {name} has {int(bad.sum())} number(s) that are NaN or infinite, first at {list(first)} "
            f"({values[first]}). Leave such frames out of the file, or the label: keys={{KEY: null}}."
        )


def check_distances(frame: AtomicData, min_distance: float) -> None:
    """Raises DataError if two atoms, or an atom and a periodic image, are closer than ``min_distance`` (Å)."""
    distance, first, second = shortest_distance(frame)
    if distance < min_distance:
        numbers = frame.numbers.tolist()
        raise DataError(
            f"{frame.place}: atoms {first} (Z={numbers[first]}) and {second} (Z={numbers[second]}) are "
            f"{distance:.4f} Å apart{' through the periodic boundary or an image' if frame.pbc.any() else ''}. Is a "
            "structure doubled, or are the unit of positions (units={positions: bohr}) or the cell wrong?"
        )


def shortest_distance(frame: AtomicData) -> tuple[float, int, int]:
    """The shortest distance in Å, periodic images included, and the two atoms; infinite if none is within 1 Å and the
    structure is periodic or large, or there is one atom alone."""
    positions, pbc = frame.positions.numpy(), frame.pbc[0].numpy()
    if not pbc.any() and 1 < len(positions) < _LARGE:
        distances = pdist(positions)
        pair = int(distances.argmin())
        first, second = (int(index[pair]) for index in np.triu_indices(len(positions), 1))
        return float(distances[pair]), first, second
    cell = frame.cell[0].numpy()
    sender, receiver, shift = neighbour_pairs(positions, cell, pbc, _SEARCH_RADIUS)
    if len(sender) == 0:
        return float("inf"), 0, 0
    lengths = np.linalg.norm(positions[sender] - positions[receiver] + shift @ cell, axis=1)
    pair = int(lengths.argmin())
    return float(lengths[pair]), int(receiver[pair]), int(sender[pair])


def check_required(frames: Sequence[AtomicData], require: Sequence[str], unread: Iterable[str] = ()) -> None:
    """Raises DataError if a label that is needed is on none of the frames; ``unread`` are the keys not read so far."""
    present = {name for frame in frames for name in frame.labels if frame.has(name)}
    for name in require:
        if name in present:
            continue
        files = ", ".join(sorted({frame.source for frame in frames}))
        raise DataError(
            f"None of the {len(frames)} frames of {files} has '{name}'. Labels found: {_listed(present)}; keys not "
            f"read: {_listed(unread)}. If it is under one of these, name it: data.keys={{KEY: {name}}}; to train "
            "without it, leave it out of data.require and of the losses."
        )


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words)) or "none"


def check_zeros(frames: Sequence[AtomicData]) -> list[str]:
    """Refuses labels that are zero throughout; returns lines on frames whose forces all are.

    Spin charges may be zero where all multiplicities are 1, and forces where every frame is one atom.

    Raises:
        DataError: Placeholder zeros would be learned as truth.
    """
    notes = []
    for name in frames[0].labels if frames else ():
        zero = [frame for frame in frames if frame.has(name) and not frame[name].any()]
        known = [frame for frame in frames if frame.has(name)]
        unsuspicious = _ZERO_IS_RIGHT.get(name, lambda frame: False)
        suspicious = [frame for frame in zero if not unsuspicious(frame)]
        if suspicious and len(zero) == len(known):
            raise DataError(
                f"'{name}' is exactly zero in all {len(known)} frames of {frames[0].source} that have it: a "
                "placeholder, not a label. Name the key that has the values (keys={KEY: " + name + "}), or leave "
                "this one out (keys={KEY: null})."
            )
        if suspicious and name == "forces":
            notes.append(f"forces are exactly zero in {len(suspicious)} frames, the first is {suspicious[0].place}")
    return notes


def _one_atom(frame: AtomicData) -> bool:
    return frame.num_nodes == 1


def _closed_shell(frame: AtomicData) -> bool:
    return float(frame.multiplicity) == 1.0


_ZERO_IS_RIGHT = {
    "forces": _one_atom,
    "dipole": _one_atom,
    "quadrupole": _one_atom,
    "charges": _one_atom,
    "spin_charges": _closed_shell,
}


def check_sums(frames: Sequence[AtomicData]) -> list[str]:
    """Lines on charges that don't sum to the total charge, spin charges to 2S, and forces of molecules to zero."""
    limits = {"charges": 0.02, "spin_charges": 0.02, "forces": 0.05}
    notes = []
    for name, limit in limits.items():
        worst, place, count = 0.0, "", 0
        for frame in frames:
            if name not in frame or not bool(known_rows(frame[name]).all()):
                continue
            error = _sum_error(frame, name)
            count += error > limit
            if error > worst:
                worst, place = error, frame.place
        if count:
            notes.append(f"{_SUM_TEXT[name]} in {count} frames, by up to {worst:.3g} {_SUM_UNIT[name]} ({place})")
    return notes


_SUM_TEXT = {
    "charges": "charges don't sum to the total charge",
    "spin_charges": "spin charges don't sum to the number of unpaired electrons",
    "forces": "forces don't sum to zero",
}
_SUM_UNIT = {"charges": "e", "spin_charges": "", "forces": "eV/Å"}


def _sum_error(frame: AtomicData, name: str) -> float:
    total = frame[name].sum(dim=0)
    expected = {"charges": frame.total_charge[0], "spin_charges": frame.multiplicity[0] - 1}.get(name, 0.0)
    return float((total - expected).abs().max())
