"""What stands in for a `Potential` but is made of others: the same properties, answered by its members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from eqff.checkpoints.metadata import ModelMetadata
from eqff.parts import Part, Term
from eqff.potential import Potential
from eqff.response.external_charges import ExternalGuard
from eqff.response.external_field import FieldGuard

if TYPE_CHECKING:
    from eqff.interfaces.ase import EqffCalculator

UNCERTAINTIES = ("energy_uncertainty", "forces_uncertainty")
"""Fields that a potential with an uncertainty adds to its prediction."""


class Composite(nn.Module):
    """Potentials that answer together, usable wherever one is: evaluation, ASE calculator, simulation.

    Args:
        members: At least one; they fit together (`eqff.uncertainty.agreement`).

    Attributes:
        metadata: What a user has to know about the whole.
        uncertainties: Names of the fields that say how far the prediction can be trusted.
    """

    uncertainties = UNCERTAINTIES

    def __init__(self, members: Sequence[Potential], metadata: ModelMetadata | None):
        super().__init__()
        self.members = nn.ModuleList(members)
        self.metadata = metadata

    def with_members(self, members: Sequence[Potential]) -> Composite:
        """The same with other members, as those with corrections added."""
        raise NotImplementedError

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that every member covers."""
        return self.members[0].elements

    @property
    def terms(self) -> dict[str, Term]:
        """Energy terms by name, those of all members."""
        return {name: term for member in reversed(self.members) for name, term in member.terms.items()}

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """Every list that a member needs, with the largest cutoff asked for, in Å."""
        lists: dict[str, float] = {}
        for member in self.members:
            for name, cutoff in member.neighbour_lists.items():
                lists[name] = max(cutoff, lists.get(name, 0.0))
        return lists

    @property
    def dtype(self) -> torch.dtype:
        """Floating dtype of the weights."""
        return self.members[0].dtype

    @property
    def predicts(self) -> tuple[str, ...]:
        """Labels that every member predicts."""
        return tuple(n for n in self.members[0].predicts if all(n in member.predicts for member in self.members))

    @property
    def per_pass(self) -> dict[str, int]:
        """Labels after every pass, and the number of passes, where all members have as many."""
        first = self.members[0].per_pass
        return {n: count for n, count in first.items() if all(m.per_pass.get(n) == count for m in self.members)}

    @property
    def reads_field(self) -> bool:
        """Whether an external electric field means anything."""
        return self.members[0].reads_field

    @property
    def field_guard(self) -> FieldGuard:
        """Looks whether the energy answers an external field."""
        return self.members[0].field_guard

    @property
    def external_guard(self) -> ExternalGuard:
        """The same for external charges."""
        return self.members[0].external_guard

    def ordered_parts(self) -> dict[str, Part]:
        """All parts of all members, by member and place."""
        return {
            f"members.{index}.{place}": part
            for index, member in enumerate(self.members)
            for place, part in member.ordered_parts().items()
        }

    def require_elements(self, numbers: Tensor) -> None:
        """Raises ModelError naming every element among ``numbers`` (N,) that the members were not made for."""
        self.members[0].require_elements(numbers)

    def calculator(self, **settings: Any) -> EqffCalculator:
        """An ASE calculator; for its settings see `eqff.interfaces.ase.EqffCalculator`."""
        from eqff.interfaces.ase import EqffCalculator

        return EqffCalculator(self, **settings)
