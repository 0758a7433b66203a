"""How fast steps are, and what share of their time went into waiting for data."""

from __future__ import annotations

import time
from typing import Any


class Throughput:
    """Structures, atoms, and where the seconds of training went, since it was last read.

    Validation and the writing of states are no training: they are left out by `restart_clock`.
    """

    def __init__(self):
        self._total_waited = 0.0
        self.clear()

    def clear(self) -> None:
        """Starts anew."""
        self._structures = self._atoms = 0
        self._seconds = self._waited = 0.0
        self._mark = time.perf_counter()

    def step_ended(self, structures: int, atoms: int, total_waited: float) -> None:
        """Counts the time since the last step, and what was in the batch.

        Args:
            structures: In the batch.
            atoms: In the batch.
            total_waited: Seconds that the loader has taken since it was made.
        """
        now = time.perf_counter()
        self._seconds += now - self._mark
        self._waited += total_waited - self._total_waited
        self._mark, self._total_waited = now, total_waited
        self._structures += structures
        self._atoms += atoms

    def restart_clock(self) -> None:
        """The time since the last step is not counted."""
        self._mark = time.perf_counter()

    def read(self) -> dict[str, float]:
        """``structures_per_second``, ``atoms_per_second``, ``data_wait_share`` (0 to 1); empty if nothing was done."""
        if not self._seconds or not self._structures:
            return {}
        return {
            "structures_per_second": self._structures / self._seconds,
            "atoms_per_second": self._atoms / self._seconds,
            "data_wait_share": min(self._waited / self._seconds, 1.0),
        }

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints."""
        return {name: getattr(self, name) for name in ("_structures", "_atoms", "_seconds", "_waited")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on counting."""
        self.clear()
        vars(self).update(state)
