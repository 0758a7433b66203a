"""Charge equilibration with parameters of each element that the user gives, as in classical force fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

import eqff.heads.gaussian_charges  # noqa: F401  declares the field of energies
from eqff.contributions import coulomb_energy, external_energy, field_energy
from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError, ModelError
from eqff.heads.equilibrating import EquilibratingHead
from eqff.heads.formal_charges import by_element
from eqff.longrange.equilibration import equilibrate
from eqff.longrange.external import external_fields
from eqff.longrange.interaction import Interaction, LatticeInteraction
from eqff.longrange.kernels import GaussianKernel
from eqff.longrange.neighbours import ShieldedInteraction
from eqff.longrange.slater import SlaterKernel
from eqff.parts import Fields


class TabulatedEquilibration(EquilibratingHead):
    """The charges with least sum_i (chi_i q_i + J_i q_i²/2) + their Coulomb energy, with fixed parameters.

    QEq and EEM [Rappe and Goddard, J. Phys. Chem. 95, 3358 (1991); Mortier et al., J. Am. Chem. Soc. 108, 4315 (1986)].

    Args:
        electronegativity: chi of each element, V.
        hardness: J of each element, eV/e². With ``gaussian`` and ``slater`` charges, without the energy of the charge
            with itself, which is added; with ``shielded`` ones the whole.
        widths: Of each element's charge, Å: w of exp(-r²/w²), 1/zeta of Slater's exp(-2 zeta r), or ReaxFF's 1/gamma.
        elements: Atomic numbers covered.
        kernel: "gaussian" or "slater" charges under Ewald's sum; "shielded" as in ReaxFF, which ends at the cutoff.

    Other arguments are those of `EquilibratingHead`.

    Raises:
        ConfigError: An element without parameters, or with a width that is not positive.
    """

    reads = ("numbers", "positions", "total_charge", "electric_field", "external_charges")
    writes = ("charges", "equilibration_energy")
    holds = (coulomb_energy("charges"), field_energy("charges"), external_energy("charges"))

    def __init__(
        self,
        electronegativity: Mapping[str | int, float],
        hardness: Mapping[str | int, float],
        widths: Mapping[str | int, float],
        elements: tuple[int, ...],
        kernel: Literal["gaussian", "slater", "shielded"] = "gaussian",
        **settings: Any,
    ):
        super().__init__(**settings)
        tables = {"electronegativity": electronegativity, "hardness": hardness, "widths": widths}
        for name, table in tables.items():
            self.register_buffer(f"{name}_table", by_element(table, elements, name), persistent=False)
        given = self.widths_table[list(elements)]
        if bool((given <= 0).any()):
            raise ConfigError("widths: every one has to be above 0 Å.")
        self.kernel = kernel
        self.interaction = _interaction(kernel, *self.lattice_settings, given)

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``charges`` (N,) and ``equilibration_energy`` (B,).

        Raises:
            ModelError: The parameters leave a structure without a minimum, conjugate gradients did not converge, a
                field acts along a lattice vector, a structure is charged that is not to be, or external charges act on
                others than Gaussian ones.
        """
        if not graph.open:
            self.charged_cells.check(graph, graph.total_charge)
        tables = (self.electronegativity_table, self.hardness_table, self.widths_table)
        chi, hardness, widths = (table[graph.numbers] for table in tables)
        chi = self._among_external(graph, chi, widths)
        found = equilibrate(graph, self.interaction, chi, hardness, widths, **self.solver.options(graph))
        return {"charges": found.charges.to(graph.positions.dtype), "equilibration_energy": found.energy}

    def _among_external(self, graph: AtomicGraph, chi: Tensor, widths: Tensor) -> Tensor:
        """chi and the potential of external charges, V, (N,)."""
        if graph.external is None:
            return chi
        if self.kernel != "gaussian":
            raise ModelError(
                f"Charges with kernel={self.kernel} can't be equilibrated among external charges, whose potential "
                "is known for Gaussian ones alone. Take kernel=gaussian."
            )
        return chi + external_fields(graph, 0, widths).potential


def _interaction(kernel: str, cutoff: float, accuracy: float, mesh_from: int, widths: Tensor) -> Interaction:
    if kernel == "shielded":
        return ShieldedInteraction(cutoff)
    spread = GaussianKernel() if kernel == "gaussian" else SlaterKernel()
    interaction = LatticeInteraction(spread, cutoff, accuracy, mesh_from, include_self=True)
    interaction.require_reach(widths)
    return interaction
