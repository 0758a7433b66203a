"""The part of a model that takes structures apart, so that features and moments are those of fragments alone."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from eqff.data import fields as table
from eqff.data.graph import AtomicGraph
from eqff.errors import ModelError
from eqff.fragments.division import Division
from eqff.heads.molecules import Molecules
from eqff.parts import Exchange, Head, Part
from eqff.ranges import Positive

_log = logging.getLogger(__name__)


class Fragments(Part):
    """Backbone, exchanges and heads are given every fragment as a structure of its own; terms, the whole structure.

    Features, charges and moments are then those of the fragments far from each other, as in AP-Net [Glick et al., J.
    Chem. Phys. 153, 044112 (2020)], and the charges of a fragment add up to its own charge. Terms tell pairs within
    fragments from pairs between them by the field ``molecules``. For open structures: in periodic ones it isn't clear
    which images of a fragment are the fragment itself.

    Args:
        elements: Atomic numbers covered.
        source: "stated" for the per-atom key ``fragment`` of structures; "bonds" for sets of bonded atoms, as in
            `eqff.heads.molecules.Molecules`, which then become one where fragments come as close as bonds.
        stretch: Of bonds; see there.
        alone: Elements without bonds; see there.

    Raises:
        ConfigError: An element that does not exist.
    """

    reads = ("numbers", "positions", "total_charge", "multiplicity", "fragment_charge")
    writes = ("molecules",)
    compiles = False

    def __init__(
        self,
        elements: tuple[int, ...],
        source: Literal["stated", "bonds"] = "stated",
        stretch: Positive = 1.25,
        alone: Sequence[str | int] = (),
    ):
        super().__init__()
        self.molecules = Molecules(elements, stretch, alone) if source == "bonds" else None
        self._told = False

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """Up to the longest bond, where fragments follow from bonds."""
        return {} if self.molecules is None else self.molecules.neighbour_lists

    def divide(self, graph: AtomicGraph, lists: Collection[str]) -> Division:
        """The batch and its fragments.

        Args:
            graph: The batch.
            lists: Names of the neighbour lists that fragments need.

        Raises:
            ModelError: Structures that state no fragments, are periodic or among external charges, or whose charge or
                spin is not that of their fragments.
        """
        if not graph.open and bool(graph.pbc.any()):
            raise ModelError(
                "Fragments of periodic structures are not told from their images. Cut a cluster out (pbc=False), or "
                "take a model without model.fragments."
            )
        if graph.external is not None:
            raise ModelError("Fragments are seen alone here, without external charges. Leave external charges out.")
        division = Division.of(graph, self._numbers(graph), lists)
        if self.molecules is not None and not self._told:
            self._tell(division)
        return division

    def _numbers(self, graph: AtomicGraph) -> Tensor:
        if self.molecules is not None:
            return self.molecules(graph, {})["molecules"]
        if graph.fragment is None or bool((graph.fragment < 0).any()):
            raise ModelError(
                "The model reads fragments, and some structures state none, or not for all atoms. State them: the "
                "per-atom key fragment (0, 1, ...), in ASE atoms.arrays['fragment']; if it has another name in a file, "
                "'data.keys={NAME: fragment}'. Or let them follow from bonds: model.fragments.source=bonds."
            )
        return graph.fragment

    def _tell(self, division: Division) -> None:
        """One line where bonds join everything: such a structure has no interaction energy."""
        counts = torch.bincount(division.structure, minlength=division.whole.num_structures)
        single = int((counts == 1).sum())
        if single:
            _log.warning("By bonds, %d of %d structures of a batch are one fragment each.", single, len(counts))
            self._told = True


def require_of_atoms(heads: Mapping[str, Head], exchanges: Mapping[str, Exchange]) -> None:
    """Checks that what is found on fragments can be put back: values of atoms, and no derivatives.

    Raises:
        ModelError: Names the part.
    """
    before = {f"heads.{name}": head for name, head in heads.items() if not head.after_terms}
    for place, part in (before | {f"exchanges.{name}": part for name, part in exchanges.items()}).items():
        wrong = [name for name in part.writes if table.field(name).level != "atom"]
        if wrong:
            raise ModelError(
                f"'{place}' writes '{wrong[0]}', which belongs to whole structures, but it sees each fragment alone "
                "(model.fragments). Leave it out."
            )
        if getattr(part, "differentiates", False):
            raise ModelError(f"'{place}' takes derivatives, which fragments alone don't have. Leave it out.")
