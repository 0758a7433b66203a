"""What makes a single structure unusable. What makes a set unusable is in `eqff.data.set_checks`."""

from __future__ import annotations

import numpy as np
from ase.data import chemical_symbols

from eqff.data import fields as table
from eqff.data.atomic_data import AtomicData
from eqff.data.neighbours import neighbour_pairs
from eqff.errors import DataError

_SEARCH_RADIUS = 1.0  # Å; images are looked for this far away, which most bonds but none of the errors exceed
_SMALL = 64  # atoms below which a call of pdist costs more than computing every distance twice
_LARGE = 1000  # atoms from which on all distances cost more than a neighbour search


def check_frame(frame: AtomicData, min_distance: float = 0.1) -> float:
    """Checks one structure as it was read, before missing labels are filled up.

    Args:
        frame: One structure.
        min_distance: Å; two nuclei closer than this are an error in the file.

    Returns:
        The shortest distance in Å; see `shortest_distance`.

    Raises:
        DataError: No atoms, NaN or infinite numbers, coinciding atoms.
    """
    check_elements(frame)
    check_finite(frame)
    return check_distances(frame, min_distance)


def check_elements(frame: AtomicData) -> None:
    """Raises DataError if there are no atoms, or one is of no element: ASE calls it X and gives it atomic number 0."""
    if frame.num_nodes == 0:
        raise DataError(f"{frame.place}: there are no atoms in it. Leave such frames out of the file.")
    wrong = [number for number in frame.numbers.tolist() if not 1 <= number < len(chemical_symbols)]
    if wrong:
        raise DataError(
            f"{frame.place}: {len(wrong)} of {frame.num_nodes} atoms are of no element (atomic number {wrong[0]}). The "
            "file has to say them: a column species:S:1 in extxyz, atomic numbers in arrays."
        )


def check_finite(frame: AtomicData) -> None:
    """Raises DataError if a position, cell, external field or charge, or label is NaN or infinite."""
    for name in ("positions", "cell", *(n for n in table.optional_inputs() if n in frame), *frame.labels):
        values = frame[name].numpy()
        bad = ~np.isfinite(values)
        if not bad.any():
            continue
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"{frame.place}: {name} has {int(bad.sum())} number(s) that are NaN or infinite, first at {list(first)} "
            f"({values[first]}). Leave such frames out of the file, or the label: 'data.keys={{KEY: null}}'."
        )


def check_distances(frame: AtomicData, min_distance: float) -> float:
    """Raises DataError if two atoms, or an atom and a periodic image, are closer than ``min_distance`` (Å); else
    returns the shortest distance."""
    distance, first, second = shortest_distance(frame, max(_SEARCH_RADIUS, min_distance))
    if distance < min_distance:
        numbers = frame.numbers.tolist()
        raise DataError(
            f"{frame.place}: atoms {first} (Z={numbers[first]}) and {second} (Z={numbers[second]}) are "
            f"{distance:.4f} Å apart{' through the periodic boundary or an image' if frame.pbc.any() else ''}. Is a "
            "structure doubled, or are the unit of positions ('data.units={positions: bohr}') or the cell wrong?"
        )
    return distance


def shortest_distance(frame: AtomicData, radius: float = _SEARCH_RADIUS) -> tuple[float, int, int]:
    """The shortest distance in Å, periodic images included, and the two atoms; infinite if none is within the radius
    (Å) and the structure is periodic or large, or there is one atom alone."""
    positions, pbc = frame.positions.numpy(), frame.pbc[0].numpy()
    if not pbc.any() and 1 < len(positions) < _SMALL:
        distances = np.linalg.norm(positions[:, None] - positions, axis=2)
        np.fill_diagonal(distances, np.inf)
        first, second = divmod(int(distances.argmin()), len(positions))
        return float(distances[first, second]), first, second
    if not pbc.any() and 1 < len(positions) < _LARGE:
        from scipy.spatial.distance import pdist  # 20 MB that no calculator needs

        distances = pdist(positions)
        pair = int(distances.argmin())
        first, second = (int(index[pair]) for index in np.triu_indices(len(positions), 1))
        return float(distances[pair]), first, second
    cell = frame.cell[0].numpy()
    sender, receiver, shift = neighbour_pairs(positions, cell, pbc, radius)
    if len(sender) == 0:
        return float("inf"), 0, 0
    lengths = np.linalg.norm(positions[sender] - positions[receiver] + shift @ cell, axis=1)
    pair = int(lengths.argmin())
    return float(lengths[pair]), int(receiver[pair]), int(sender[pair])
