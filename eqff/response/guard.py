"""Whether the whole energy of a model answers what acts on structures from outside."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from eqff.data.graph import AtomicGraph
from eqff.errors import ModelError

log = logging.getLogger(__name__)


class EnergyGuard(ABC):
    """Refuses what no energy of a model follows from, and tells of moments that have none.

    Args:
        read: Whether some energy follows from it.
        left_out: Names of fields of charges and dipoles whose energy by it no part holds.

    Attributes:
        no_reader: Message where no energy follows from it.
        lacking: Message, logged once, where moments have none; takes their names.
    """

    no_reader: ClassVar[str]
    lacking: ClassVar[str]

    def __init__(self, read: bool, left_out: Sequence[str]):
        self._read, self._left_out, self._told = read, left_out, False

    @abstractmethod
    def acts(self, graph: AtomicGraph) -> bool:
        """Whether some structure of a batch feels it."""

    def check(self, graph: AtomicGraph) -> None:
        """See `require`, for a batch on which it may act."""
        if (not self._read or (self._left_out and not self._told)) and self.acts(graph):
            self.require()

    def require(self) -> None:
        """Raises ModelError if no energy follows from it; logs once which moments have none by it."""
        if not self._read:
            raise ModelError(self.no_reader)
        if self._left_out and not self._told:
            self._told = True
            log.warning(self.lacking, " and ".join(self._left_out))
