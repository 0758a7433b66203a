"""Least squares of energies against composition and charge, accumulated chunk by chunk in float64."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eqff.data.energy_rows import EnergyRows

Parameters = dict[Hashable, float]


class Triangle:
    """The rows [X | y] of a least-squares problem, of which only the triangular factor is kept.

    QR of the factor with new rows below gives the factor of all rows: at most p + 1 rows are ever in memory, and the
    solution is that of all rows at once to rounding, without squaring the condition number as normal equations do.

    Attributes:
        columns: What each column of X is.
        factor: (at most p + 1, p + 1); the last column is y.
        rows: How many went in.
    """

    def __init__(self):
        self.columns: tuple[Hashable, ...] = ()
        self.factor = np.zeros((0, 1))
        self.rows = 0

    def add(self, columns: Sequence[Hashable], rows: np.ndarray) -> None:
        """Takes rows (F, p + 1) of [X | y] with these columns; columns that were not there before were zero."""
        merged = (*self.columns, *(column for column in columns if column not in self.columns))
        old, new = spread(self.factor, self.columns, merged), spread(rows, columns, merged)
        self.columns, self.factor = merged, np.linalg.qr(np.vstack([old, new]), mode="r")
        self.rows += len(rows)


@dataclass(frozen=True)
class Solution:
    """Of a least-squares problem.

    Attributes:
        values: By parameter; the smallest ones that fit where the rows leave some undetermined.
        rank: How many combinations of parameters the rows determine.
        spread: Root mean square of what is left.
    """

    values: Parameters
    rank: int
    spread: float


def solve(triangles: Mapping[Hashable, tuple[Triangle, Mapping[Hashable, Mapping[Hashable, float]]]]) -> Solution:
    """The least-squares solution over several triangles at once.

    Args:
        triangles: By any name, each with what its columns mean: column to parameters with their factors. A column that
            is left out is taken as zero.
    """
    meanings = [meaning for _, meaning in triangles.values()]
    parameters = sorted({p for meaning in meanings for shares in meaning.values() for p in shares}, key=repr)
    place = {parameter: index for index, parameter in enumerate(parameters)}
    blocks, rows = [], 0
    for triangle, meaning in triangles.values():
        transform = np.zeros((len(triangle.columns), len(parameters)))
        for row, column in enumerate(triangle.columns):
            for parameter, share in meaning.get(column, {}).items():
                transform[row, place[parameter]] = share
        blocks.append(np.hstack([triangle.factor[:, :-1] @ transform, triangle.factor[:, -1:]]))
        rows += triangle.rows
    matrix = np.vstack(blocks)
    # the threshold of all rows, so that the rank doesn't depend on how they came
    threshold = np.finfo(np.float64).eps * max(rows, len(parameters))
    found, _, rank, _ = np.linalg.lstsq(matrix[:, :-1], matrix[:, -1], rcond=threshold)
    left = float(np.linalg.norm(matrix[:, :-1] @ found - matrix[:, -1])) / max(rows, 1) ** 0.5
    return Solution(dict(zip(parameters, found.tolist(), strict=True)), int(rank), left)


def spread(rows: np.ndarray, columns: Sequence[Hashable], wider: Sequence[Hashable]) -> np.ndarray:
    """Rows of [X | y] with zeros in the columns that only ``wider`` has."""
    place = {column: index for index, column in enumerate(wider)}
    out = np.zeros((len(rows), len(wider) + 1))
    out[:, [place[column] for column in columns]] = rows[:, :-1]
    out[:, -1] = rows[:, -1]
    return out


class EnergyFit:
    """What is needed of a training set to give it reference energies, from chunks of any size in any order.

    Energies per atom are fitted against the composition per atom and, where asked for, the charge state. A set of a
    million structures needs a triangle of a few kB for each file.

    Attributes:
        elements: Atomic numbers seen, with or without energies.
        charges: Total charges seen among structures with energies.
        levels: Level of theory to the number of structures with energies, in the order in which they came.
        sources: (level of theory, file) to the number of structures of several atoms with energies.
        lowest: (level, Z, charge) to the lowest energy among structures of one atom, eV.
    """

    def __init__(self):
        self.elements: set[int] = set()
        self.charges: set[int] = set()
        self.levels: dict[str, int] = {}
        self.sources: dict[tuple[str, str], int] = {}
        self.lowest: dict[tuple[str, int, int], float] = {}
        self._triangles: dict[_Part, Triangle] = {}
        self._with_energy: dict[str, set[int]] = {}

    def add(self, rows: EnergyRows) -> EnergyFit:
        """Takes a chunk."""
        self.elements.update(np.flatnonzero(rows.counts.any(axis=0)).tolist())
        known = rows.with_energies()
        self.charges.update(np.unique(known.charges).tolist())
        for level in dict.fromkeys(known.levels.tolist()):
            part = known.where(known.levels == level)
            self.levels[level] = self.levels.get(level, 0) + len(part)
            self._with_energy.setdefault(level, set()).update(np.flatnonzero(part.counts.any(axis=0)).tolist())
            self._take_atoms(level, part)
            for source in dict.fromkeys(part.sources.tolist()):
                own = part.where(part.sources == source)
                alone = own.sizes == 1
                self.sources[level, source] = self.sources.get((level, source), 0) + int((~alone).sum())
                for single in (False, True):
                    self._add(_Part(level, source, single), own.where(alone == single))
        return self

    def _add(self, part: _Part, rows: EnergyRows) -> None:
        if not len(rows):
            return
        elements, charges = np.flatnonzero(rows.counts.any(axis=0)), np.unique(rows.charges)
        counts, states = rows.counts[:, elements], rows.charges[:, None] == charges
        values = np.hstack([counts, states, rows.energies[:, None]]) / rows.sizes[:, None]
        columns = [("element", z) for z in elements.tolist()] + [("charge", q) for q in charges.tolist()]
        self._triangles.setdefault(part, Triangle()).add(columns, values)

    def _take_atoms(self, level: str, rows: EnergyRows) -> None:
        for index in np.flatnonzero(rows.sizes == 1).tolist():
            key = (level, int(rows.counts[index].argmax()), int(rows.charges[index]))
            self.lowest[key] = min(float(rows.energies[index]), self.lowest.get(key, np.inf))

    def elements_with_energy(self, level: str | None = None) -> set[int]:
        """Elements that occur in structures with energies, of one level or of all."""
        chosen = self._with_energy.values() if level is None else [self._with_energy.get(level, set())]
        return set().union(*chosen)

    def least_squares(self, charge: str | None, *, by_level: bool) -> Solution:
        """Parameters ("element", level, Z) and, with ``charge``, ("slope",) or ("offset", Q).

        Args:
            charge: None, "linear" or "offsets"; offsets are above the charge state nearest to neutral.
            by_level: Whether each level of theory has energies of the elements of its own; else all share level "".
        """
        return self._solve(charge, self._triangles, lambda part: part.level if by_level else "")

    def spread(self, separate: Collection[tuple[str, str]]) -> float:
        """What is left of the energies of structures of several atoms, in eV/atom, when the sources (level, file) in
        ``separate`` have energies of the elements of their own, and the others one set for each level."""
        molecules = {part: triangle for part, triangle in self._triangles.items() if not part.single}
        return self._solve("offsets", molecules, lambda part: part.owner(separate)).spread

    def _solve(
        self, charge: str | None, triangles: Mapping[_Part, Triangle], owner: Callable[[_Part], Hashable]
    ) -> Solution:
        shares = _charge_shares(charge, self.charges)
        problem = {}
        for part, triangle in triangles.items():
            elements = [column for column in triangle.columns if column[0] == "element"]
            meaning = {column: {("element", owner(part), column[1]): 1.0} for column in elements}
            problem[part] = (triangle, meaning | shares)
        return solve(problem)


@dataclass(frozen=True)
class _Part:
    """Which structures a triangle is of: their level of theory, their file, and whether they are single atoms."""

    level: str
    source: str
    single: bool

    def owner(self, separate: Collection[tuple[str, str]]) -> tuple[str, ...]:
        return (self.level, self.source) if (self.level, self.source) in separate else (self.level,)


def nearest_to_neutral(charges: set[int]) -> int:
    """The charge state that offsets are counted from: 0 where there is one."""
    return min(charges, key=lambda charge: (abs(charge), -charge))


def _charge_shares(charge: str | None, charges: set[int]) -> dict[Hashable, Mapping[Hashable, float]]:
    """What a column of one charge state means."""
    if charge == "linear":
        return {("charge", q): {("slope",): float(q)} for q in charges}
    if charge == "offsets":
        base = nearest_to_neutral(charges)
        return {("charge", q): {("offset", q): 1.0} for q in charges if q != base}
    return {}
