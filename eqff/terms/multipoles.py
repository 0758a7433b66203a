"""The electrostatic energy of permanent atomic multipoles, wherever these come from."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from eqff.contributions import coulomb_energy
from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError
from eqff.longrange.charged_cells import ChargedCell, charged_cells, net_charge
from eqff.longrange.multipoles.damping import Damping, GaussianDamping, NoDamping
from eqff.longrange.multipoles.interaction import MultipoleInteraction
from eqff.longrange.multipoles.moments import Moments
from eqff.longrange.multipoles.scaling import PairScaling
from eqff.longrange.multipoles.switching import SwitchedDamping
from eqff.parts import Fields, Term
from eqff.ranges import Count, InnerShare, NonNegative, Positive


class Multipoles(Term):
    """E = 1/2 sum_ij M_i·T_ij·M_j of charges, dipoles and quadrupoles M, over all pairs and all their images.

    Moments are what heads predict in the lab frame; as these turn and change with the atoms' surroundings, forces and
    torques follow from the energy alone. Sums are as for `eqff.terms.coulomb.Coulomb`: all pairs of open structures,
    Ewald's sum of periodic ones, on a mesh where they are large; tin-foil boundary, uniform background.

    Args:
        charges: The field of charges; None to leave them out, as for the next two.
        dipoles: The field of dipoles.
        quadrupoles: The field of quadrupoles (Buckingham).
        cutoff: Of neighbours in periodic structures, Å.
        accuracy: Error of lattice sums, relative to the force between unit moments at 1 Å.
        mesh_from: Periodic structures of this many atoms and more are summed on a mesh.
        short_range: "point" for 1/r and its derivatives; "gaussian" for moments of clouds exp(-r²/width²), without
            their own energies; "switch" to leave pairs to the local model up to ``switch[0]``, and gradually until
            ``switch[1]`` (Å).
        width: Å, of all clouds.
        widths: The field of widths in Å, instead.
        switch: Å, see ``short_range``.
        groups: The field of numbers of molecules; pairs of atoms with the same number interact by ``group_factor``, in
            periodic structures those of nearest images. Negative numbers stand for no molecule. None for no groups.
        group_factor: 0 to leave out pairs within a molecule.
        charged_cell: "background" for a uniform neutralising background of charged crystals, and a convention for
            charged slabs and wires; "refuse" to make all of them an error.

    Raises:
        ConfigError: Settings that don't go together.
    """

    level = "structure"
    compiles = False

    def __init__(
        self,
        charges: str | None = "charges",
        dipoles: str | None = "atomic_dipoles",
        quadrupoles: str | None = "atomic_quadrupoles",
        cutoff: Positive = 6.0,
        accuracy: InnerShare = 1e-6,
        mesh_from: Count = 500,
        short_range: Literal["point", "gaussian", "switch"] = "point",
        width: Positive | None = None,
        widths: str | None = None,
        switch: tuple[NonNegative, Positive] = (1.0, 4.0),
        groups: str | None = None,
        group_factor: NonNegative = 0.0,
        charged_cell: ChargedCell = "background",
    ):
        super().__init__()
        moments = {"charges": charges, "dipoles": dipoles, "quadrupoles": quadrupoles}
        self.moments = {name: field for name, field in moments.items() if field is not None}
        if not self.moments:
            raise ConfigError("Multipoles without moments: name the field of charges, dipoles or quadrupoles.")
        if short_range != "gaussian" and (width is not None or widths is not None):
            raise ConfigError(f"width and widths belong to short_range=gaussian; it is {short_range}.")
        if short_range == "gaussian" and (width is None) == (widths is None):
            raise ConfigError("short_range=gaussian needs either width (Å, for all moments) or widths (a field).")
        self.width, self.widths, self.groups, self.group_factor = width, widths, groups, group_factor
        self.charged_cells = charged_cells(charged_cell)
        others = tuple(field for field in (widths, groups) if field is not None)
        self.reads = ("positions", *self.moments.values(), *others)
        self.holds = tuple(coulomb_energy(field) for field in self.moments.values())
        damping = SwitchedDamping(*switch) if short_range == "switch" else NoDamping()
        self.interaction = MultipoleInteraction(damping, cutoff, accuracy, mesh_from)

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """Those of the sums."""
        return self.interaction.neighbour_lists

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """Energies in eV, (B,).

        Raises:
            ModelError: A charged periodic structure that is refused, atoms on each other, or clouds that are too wide.
        """
        moments = Moments(**{name: fields[field] for name, field in self.moments.items()})
        if moments.charges is not None:
            self.charged_cells.check(graph, net_charge(graph, moments.charges))
        scaling = None
        if self.groups is not None:
            scaling = PairScaling.of_groups(fields[self.groups], graph, self.group_factor)
        bound = self.interaction.bind(graph, self._clouds(graph, fields), scaling, moments.rank)
        return {"energy": bound.energy(moments)}

    def _clouds(self, graph: AtomicGraph, fields: Fields) -> Damping | None:
        if self.widths is not None:
            return GaussianDamping(fields[self.widths].to(torch.float64))
        if self.width is not None:
            options = {"dtype": torch.float64, "device": graph.positions.device}
            return GaussianDamping(torch.full((graph.num_atoms,), self.width, **options))
        return None
