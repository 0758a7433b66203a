"""Where the electrons of an atom are on average: the centroid of its Wannier functions, from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from eqff.data.fields import Field, declare
from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError
from eqff.heads.formal_charges import by_element, require_total_charge
from eqff.heads.multipoles import GatedReadout
from eqff.parts import Fields, Head
from eqff.ranges import Positive, Size

DisplacementField = Literal["wannier_displacements", "short_range_displacements"]

declare(Field("short_range_displacements", "atom", (3,), "1o", "Å", "Wannier displacement in no field", "internal"))


class WannierCentroids(Head):
    """d_i from the l = 1 features of atoms of chosen elements, and the charges of ions and centroids.

    The centroid of atom i is at r_i + d_i and holds the charge of its element's valence electrons; ions (nuclei with
    their cores) are at the atoms. For water with two core electrons on oxygen, ions have 6 and 1 e and the centroid of
    oxygen -8 e. [DPLR: Zhang et al., J. Chem. Phys. 156, 124107 (2022)]

    Args:
        channels: Channels of the backbone, which must reach l = 1.
        num_passes: Passes of the backbone.
        elements: Atomic numbers covered; each needs the charge of its ion.
        ion_charges: e, by element symbol or atomic number.
        centroid_charges: e, by element; elements that are not named have no centroid.
        field: Where displacements go: "wannier_displacements" if they are those of the whole structure, or
            "short_range_displacements" if they respond to a field from there on (the term self_consistent_centroids).
        hidden: Width of the layer by which scalars gate the readout; 0 for a linear readout alone.
        scale: Å; times what is read: fresh models begin with centroids near their atoms.
        require_total: Whether a structure whose ions and centroids don't add up to its total charge is refused.

    Raises:
        ConfigError: No element has a centroid, or one has no ion.
    """

    reads = ("features", "pass_scalars", "numbers", "total_charge")
    writes = ("wannier_displacements", "ion_charges", "centroid_charges")
    degree = 1

    def __init__(
        self,
        channels: int,
        num_passes: int,
        elements: tuple[int, ...],
        ion_charges: Mapping[str | int, float],
        centroid_charges: Mapping[str | int, float],
        field: DisplacementField = "wannier_displacements",
        hidden: Size = 32,
        scale: Positive = 0.1,
        require_total: bool = True,
    ):
        super().__init__()
        self.field, self.scale, self.require_total = field, scale, require_total
        self.writes = (field, "ion_charges", "centroid_charges")
        self.compiles = not require_total  # sums are looked at
        if not any(centroid_charges.values()):
            raise ConfigError("centroid charges: none given. Name the elements that have a centroid, such as {O: -8}.")
        none = dict.fromkeys(elements, 0.0)
        self.register_buffer("ions", by_element(ion_charges, elements, "ion charges"), persistent=False)
        self.register_buffer(
            "centroids", by_element(none | dict(centroid_charges), elements, "centroid charges"), persistent=False
        )
        self.readout = GatedReadout(channels, num_passes, 1, hidden)

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """Displacements in Å, (N, 3), zero for atoms without a centroid; ``ion_charges`` and ``centroid_charges`` in e.

        Raises:
            ModelError: Charges don't add up to a structure's total charge.
        """
        dtype = graph.positions.dtype
        ions, centroids = (table.to(dtype)[graph.numbers] for table in (self.ions, self.centroids))
        if self.require_total:
            require_total_charge(graph, ions + centroids, "charges of ions and Wannier centroids")
        # e3nn's l = 1 components are x, y, z
        displacements = torch.where((centroids != 0)[:, None], self.scale * self.readout(fields), 0.0)
        return {self.field: displacements, "ion_charges": ions, "centroid_charges": centroids}
