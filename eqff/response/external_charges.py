"""Whether a model answers the external point charges that a structure is among."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from eqff.data.graph import AtomicGraph
from eqff.errors import ModelError

log = logging.getLogger(__name__)

READ = "external_charges"
"""What parts that feel external charges name among the fields they read."""

NO_READER = (
    "No part of this model feels external charges in its energy, so they would exert no forces. Add one that does: "
    "+term@model.terms.external=external_charges for charges and dipoles that they leave as they are, charge "
    "equilibration with the energy that it minimises (+term@model.terms.equilibration=equilibration), or induced "
    "dipoles."
)
"""Message for a structure among external charges that no energy of the model follows from."""


class ExternalGuard:
    """Looks whether a model's energy answers external charges as a whole.

    Args:
        read: Whether some energy follows from them.
        left_out: Names of fields of charges and dipoles whose energy among them no part holds.
    """

    def __init__(self, read: bool, left_out: Sequence[str]):
        self._read, self._left_out, self._told = read, left_out, False

    def check(self, graph: AtomicGraph) -> None:
        """Raises ModelError if no energy feels external charges; logs once which moments have none by them."""
        if graph.external is None:
            return
        if not self._read:
            raise ModelError(NO_READER)
        if self._left_out and not self._told:
            self._told = True
            log.warning(
                "There are external charges, but no part of this model holds the energy of %s among them. "
                "+term@model.terms.external=external_charges (its charges, dipoles, quadrupoles) adds what is missing.",
                " and ".join(self._left_out),
            )
