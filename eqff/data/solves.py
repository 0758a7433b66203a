"""Where iterative solvers begin along a trajectory: at what the solutions of the last steps lead one to expect.

A model of one structure that moves solves the same equations at every step. Their solutions are kept here, by what is
solved and how often it was within a step, so that any solver of any part finds its own. What a solver converges to does
not depend on where it begins, beyond its tolerance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from eqff.errors import ModelError, did_you_mean

Predictor = Literal["last", "linear", "quadratic", "always_stable", "fitted"]

COEFFICIENTS: dict[str, tuple[float, ...]] = {
    "last": (1.0,),
    "linear": (2.0, -1.0),
    "quadratic": (3.0, -3.0, 1.0),
    "always_stable": (2.8, -2.8, 1.2, -0.2),
}
"""Of the last solution, the one before, and so on; each set adds up to one. Polynomials in time, and the predictor of
always stable predictor-corrector with k = 2, which amplifies errors less [Kolafa, J. Comput. Chem. 25, 335 (2004)]."""

_FIRST = ((1.0,), (2.0, -1.0), (3.0, -3.0, 1.0))
"""While there are fewer steps than the predictor takes."""

FITTED_STEPS, RIDGE = 8, 1e-4
"""Of "fitted": how many steps, and what keeps coefficients small, relative to the moves that are fitted."""

JUMP = 0.3
"""Å; an atom or a lattice vector that moves further in a step, four times what hydrogen does in 2 fs at 300 K, does not
go on from the step before: what follows begins anew."""


@dataclass(frozen=True)
class Solve:
    """One solve within a step.

    Attributes:
        place: Its name.
        start: What to begin with, of any shape; None for nothing.
        found: Where the solution goes, by place; None for nowhere.
    """

    place: str = ""
    start: Tensor | None = None
    found: dict[str, Tensor] | None = None

    def start_for(self, right: Tensor) -> Tensor | None:
        """``start`` on the device of ``right``; None if it isn't of the same shape."""
        if self.start is None or self.start.shape != right.shape:
            return None
        return self.start.to(right)

    def end(self, solution: Tensor) -> None:
        """Keeps the solution."""
        if self.found is not None:
            self.found[self.place] = solution.detach()


class ColdStarts:
    """Nothing is kept, every solve begins at nothing: batches of training, and calculators unless they are told."""

    def next(self, what: str) -> Solve:
        """The next solve of a step.

        Args:
            what: Is solved.
        """
        return Solve()

    def begin(self, positions: np.ndarray, cell: np.ndarray, key: Hashable) -> None:
        """To be told of each geometry before it is evaluated.

        Args:
            positions: Å, (N, 3).
            cell: Lattice vectors as rows in Å, (3, 3).
            key: All else that solutions depend on: elements in their order, charge, spin, field, precision; but not
                external charges, which move as atoms do.
        """

    def state(self) -> tuple[dict[str, Any], list[np.ndarray]] | None:
        """What decides how the next solves begin, as a tree that JSON can hold and arrays; None for nothing."""
        return None

    def restore(self, tree: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> None:
        """Puts a ``state`` back."""


@dataclass
class _Step:
    """A geometry and its solutions by place."""

    positions: np.ndarray
    cell: np.ndarray
    key: Hashable
    found: dict[str, Tensor] = field(default_factory=dict)

    def same(self, other: _Step) -> bool:
        alike = self.positions.shape == other.positions.shape and other.key in (None, self.key)
        return alike and np.array_equal(self.positions, other.positions) and np.array_equal(self.cell, other.cell)

    def follows(self, other: _Step) -> bool:
        if other.key not in (None, self.key) or self.positions.shape != other.positions.shape:
            return False
        moves = [np.abs(self.positions - other.positions), np.abs(self.cell - other.cell)]
        return all(bool(move.max(initial=0.0) <= JUMP) for move in moves)


class SolveHistory(ColdStarts):
    """The solutions of the last steps of one structure, and what they predict of the next.

    A step that is evaluated again begins as it did the first time, so energies and forces are those of before to the
    bit, also where a trajectory goes on from a saved `state`.

    Args:
        predictor: One of `COEFFICIENTS`, or "fitted": coefficients with which the positions of the last steps give
            those of now, by least squares.

    Raises:
        ModelError: There is no such predictor.

    Attributes:
        warm: How many solves have begun with a prediction.
        cold: How many have not.
    """

    def __init__(self, predictor: Predictor):
        if predictor not in get_args(Predictor):
            raise ModelError(
                f"warm_start: no '{predictor}'.{did_you_mean(predictor, get_args(Predictor))} None for none."
            )
        self.predictor = predictor
        self.warm, self.cold = 0, 0
        self._before: list[_Step] = []
        self._now: _Step | None = None
        self._counts: Counter[str] = Counter()

    def next(self, what: str) -> Solve:
        """See `ColdStarts.next`."""
        if self._now is None:
            return Solve()
        self._counts[what] += 1
        place = f"{what} {self._counts[what]}"
        past = [step for step in takewhile(lambda step: place in step.found, self._before)]
        self.warm, self.cold = self.warm + bool(past), self.cold + (not past)
        return Solve(place, self._predicted(past, place), self._now.found)

    def begin(self, positions: np.ndarray, cell: np.ndarray, key: Hashable) -> None:
        """See `ColdStarts.begin`."""
        now, last = _Step(positions.copy(), cell.copy(), key), self._now
        if last is None or not now.same(last):
            follows = last is not None and now.follows(last)
            longest = len(COEFFICIENTS.get(self.predictor, range(FITTED_STEPS)))
            self._before = [last, *self._before][:longest] if follows else []
        self._now = now
        self._counts.clear()

    def state(self) -> tuple[dict[str, Any], list[np.ndarray]] | None:
        """See `ColdStarts.state`."""
        if self._now is None:
            return None
        steps, arrays = [self._now, *self._before], []
        for step in steps:
            arrays += [step.positions, step.cell, *(solution.cpu().numpy() for solution in step.found.values())]
        return {"places": [list(step.found) for step in steps]}, arrays

    def restore(self, tree: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> None:
        """See `ColdStarts.restore`."""
        rest = iter(arrays)
        self._now, *self._before = [
            _Step(next(rest), next(rest), None, {place: torch.from_numpy(next(rest)) for place in places})
            for places in tree["places"]
        ]

    def _predicted(self, past: Sequence[_Step], place: str) -> Tensor | None:
        solutions = [step.found[place] for step in past]
        if not past or len({solution.shape for solution in solutions}) > 1:
            return None
        pairs = zip(self._coefficients(past), solutions, strict=False)
        return torch.stack([factor * solution.to(solutions[0]) for factor, solution in pairs]).sum(dim=0)

    def _coefficients(self, past: Sequence[_Step]) -> Sequence[float]:
        if self.predictor == "fitted" and len(past) > len(_FIRST):
            return fitted_coefficients(self._now.positions, [step.positions for step in past])
        wanted = COEFFICIENTS.get(self.predictor, ())
        return wanted if 0 < len(wanted) <= len(past) else _FIRST[min(len(past), len(_FIRST)) - 1]


def fitted_coefficients(now: np.ndarray, past: Sequence[np.ndarray]) -> list[float]:
    """c with the least |now - sum_k c_k past_k|² + (ridge) |c|² under sum c = 1, so that all may move together.

    As for density matrices in [Polack et al., Mol. Phys. 118, e1779834 (2020)].
    """
    newest = past[0]
    table = np.stack([(other - newest).ravel() for other in past[1:]])
    products = table @ table.T
    products += RIDGE**2 * np.trace(products) / len(products) * np.eye(len(products))
    others = np.linalg.lstsq(products, table @ (now - newest).ravel(), rcond=None)[0]
    return [1.0 - float(others.sum()), *others.tolist()]


COLD = ColdStarts()
"""No history."""


def solve_history(predictor: Predictor | None) -> ColdStarts:
    """The history for a setting; None for none."""
    return COLD if predictor is None else SolveHistory(predictor)
