"""How fast steps are, and what share of their time went into waiting for data."""

from __future__ import annotations

import time
from typing import Any


class Throughput:
    """Structures, atoms, and where the seconds of training went, since it was last read.

    Validation and the writing of states are neither computing nor waiting: they are left out by `restart_clock`.
    """

    def __init__(self):
        self.clear()

    def clear(self) -> None:
        """Starts anew."""
        self._structures = self._atoms = 0
        self._waited = self._computed = 0.0
        self._mark = time.perf_counter()

    def batch_arrived(self) -> None:
        """The time since the last step was spent waiting for a batch."""
        now = time.perf_counter()
        self._waited += now - self._mark
        self._mark = now

    def step_ended(self, structures: int, atoms: int) -> None:
        """The time since the batch came was spent computing; what the batch held."""
        now = time.perf_counter()
        self._computed += now - self._mark
        self._mark = now
        self._structures += structures
        self._atoms += atoms

    def restart_clock(self) -> None:
        """The time since the last event is not counted."""
        self._mark = time.perf_counter()

    def read(self) -> dict[str, float]:
        """``structures_per_second``, ``atoms_per_second``, ``data_wait_share`` (0 to 1); empty if nothing was done."""
        seconds = self._waited + self._computed
        if not seconds or not self._structures:
            return {}
        return {
            "structures_per_second": self._structures / seconds,
            "atoms_per_second": self._atoms / seconds,
            "data_wait_share": self._waited / seconds,
        }

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints."""
        names = ("_structures", "_atoms", "_waited", "_computed")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on counting."""
        self.clear()
        vars(self).update(state)
