"""The electrostatic energy of atomic charges, wherever these come from."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from eqff.contributions import coulomb_energy
from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError, did_you_mean
from eqff.longrange.charged_cells import ChargedCell, charged_cells, net_charge
from eqff.longrange.interaction import Interaction, LatticeInteraction
from eqff.longrange.kernels import GaussianKernel, Kernel, PointKernel, SoftenedKernel, SwitchedKernel
from eqff.longrange.shifted import PairInteraction
from eqff.parts import Fields, Term
from eqff.ranges import Count, InnerShare, NonNegative, Positive


class Coulomb(Term):
    """E = 1/2 sum_ij k_e q_i q_j u(r_ij), over all pairs and all their images.

    Open structures have all their pairs; periodic ones are summed by Ewald's method, large ones on a mesh. Slabs and
    wires are treated as such. A charged three-dimensional cell gets a uniform neutralising background; the boundary is
    tin-foil. ``method`` "wolf" and "dsf" sum neighbours only.

    Args:
        charges: The field of charges.
        method: "ewald" for all pairs and lattice sums, "dsf" (damped shifted force) or "wolf" for neighbours only.
        cutoff: Of neighbours, Å; in open structures only "dsf" and "wolf" have one.
        accuracy: Error of lattice sums, relative to the force between unit charges at 1 Å.
        mesh_from: Periodic structures of this many atoms and more are summed on a mesh.
        damping: 1/Å, for "dsf" and "wolf".
        short_range: "point" for 1/r; "gaussian" for charges spread as exp(-r²/width²), without their own energies;
            "switch" to leave pairs to the local model up to ``switch[0]``, and gradually until ``switch[1]`` (Å);
            "soften" for 1 / sqrt(r² + 1 Å²) there instead of nothing, as in PhysNet and SpookyNet.
        width: Å, of Gaussian charges that have no field of widths.
        widths: The field of widths in Å, instead.
        switch: Å, see ``short_range``.
        charged_cell: "background" for a uniform neutralising background of charged crystals, and a convention for
            charged slabs and wires; "refuse" to make all of them an error.

    Raises:
        ConfigError: Settings that don't go together.
    """

    level = "structure"
    compiles = False
    compiles_open = True

    def __init__(
        self,
        charges: str = "charges",
        method: Literal["ewald", "dsf", "wolf"] = "ewald",
        cutoff: Positive = 6.0,
        accuracy: InnerShare = 1e-6,
        mesh_from: Count = 500,
        damping: NonNegative = 0.2,
        short_range: Literal["point", "gaussian", "switch", "soften"] = "point",
        width: Positive | None = None,
        widths: str | None = None,
        switch: tuple[NonNegative, Positive] = (1.0, 4.0),
        charged_cell: ChargedCell = "background",
    ):
        super().__init__()
        self.charges, self.widths = charges, widths
        self.charged_cells = charged_cells(charged_cell)
        self.reads = ("positions", charges) + ((widths,) if widths else ())
        self.holds = (coulomb_energy(charges),)
        kernel = _kernel(short_range, width, widths, switch)
        if method != "ewald" and short_range != "point":
            raise ConfigError(f"method={method} sums point charges only; short_range={short_range} needs method=ewald.")
        self.interaction: Interaction
        if method == "ewald":
            self.interaction = LatticeInteraction(kernel, cutoff, accuracy, mesh_from)
        else:
            self.interaction = PairInteraction(cutoff, damping, shift_force=method == "dsf")

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """Those of the way of summing."""
        return self.interaction.neighbour_lists

    def check_batch(self, graph: AtomicGraph) -> None:
        """Looks for atoms on each other."""
        self.interaction.check(graph)

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """Energies in eV, (B,).

        Raises:
            ModelError: A charged periodic structure that is refused, atoms on each other, or charges that are too wide.
        """
        charges = fields[self.charges].to(torch.float64)
        if not graph.open:
            self.charged_cells.check(graph, net_charge(graph, charges))
        widths = fields[self.widths] if self.widths else None
        return {"energy": self.interaction.bind(graph, widths).energy(charges)}


def _kernel(short_range: str, width: float | None, widths: str | None, switch: tuple[float, float]) -> Kernel:
    if short_range != "gaussian" and (width is not None or widths is not None):
        raise ConfigError(f"width and widths belong to short_range=gaussian; it is {short_range}.")
    if short_range == "gaussian" and (width is None) == (widths is None):
        raise ConfigError("short_range=gaussian needs either width (Å, for all charges) or widths (a field).")
    kernels = {
        "point": PointKernel,
        "gaussian": lambda: GaussianKernel(width),
        "switch": lambda: SwitchedKernel(*switch),
        "soften": lambda: SoftenedKernel(*switch),
    }
    if short_range not in kernels:
        raise ConfigError(f"short_range: no '{short_range}'.{did_you_mean(short_range, kernels)}")
    return kernels[short_range]()
