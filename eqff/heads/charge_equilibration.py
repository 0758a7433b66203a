"""Charges that minimise an electrostatic energy whose parameters are read from the environment: QEq, CENT."""

from __future__ import annotations

from typing import Any

from eqff.data.graph import AtomicGraph
from eqff.heads.gaussian_charges import GaussianChargeHead, GaussianParameters
from eqff.longrange.equilibration import Equilibrated, equilibrate
from eqff.parts import Fields


class ChargeEquilibration(GaussianChargeHead):
    """The charges with least sum_i (chi_i q_i + J_i q_i²/2) + their Coulomb energy, at the structure's total charge.

    Electronegativities chi are read from the scalars of every pass; hardness J and width of the Gaussian charges are
    learned per element and positive. Because Coulomb energies of spread charges are never negative, a positive J is
    enough for the minimum to exist. [CENT: Ghasemi et al., Phys. Rev. B 92, 045131 (2015); 4G-HDNNP: Ko et al., Nat.
    Commun. 12, 398 (2021)]

    In a uniform external field, chi becomes chi - field·r. Arguments are those of `GaussianChargeHead`.
    """

    def equilibrated(
        self, graph: AtomicGraph, fields: Fields, parameters: GaussianParameters, options: dict[str, Any]
    ) -> Equilibrated:
        """See `GaussianChargeHead.equilibrated`."""
        return equilibrate(graph, self.interaction, *parameters, **options)
