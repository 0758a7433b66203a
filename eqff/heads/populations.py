"""Charges and spins at which a learned energy of atomic populations is lowest: BpopNN's SCF-q."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from eqff.data.graph import LOCAL, AtomicGraph
from eqff.errors import ModelError
from eqff.heads.gaussian_charges import GaussianChargeHead, GaussianParameters, surrounded
from eqff.longrange.equilibration import Equilibrated, in_field
from eqff.longrange.populations.energy import NeighbourSums, PopulationEnergy
from eqff.longrange.populations.minimum import minimize_populations
from eqff.longrange.populations.newton import Newton
from eqff.longrange.populations.totals import Totals
from eqff.nn.populations import PopulationNetwork, SmoothWeights
from eqff.parts import Fields
from eqff.ranges import Count, Positive, Size


class Populations(GaussianChargeHead):
    """The populations with least energy E({q, s}, R), a network of populations and environments, at given totals.

    E = sum_i (chi_i q_i + J_i q_i²/2 + I_i s_i²/2 + e_i) + the Coulomb energy of Gaussian charges q, where e_i is a
    network of what the atom's environment is, of its charge q_i (and spin s_i), and of smoothed sums of those of its
    neighbours. It is minimised under sum q = Q (and sum s = number of unpaired electrons) by Newton's method: an energy
    as a function of atomic populations, and its SCF-q [Xie, Persson & Small, J. Chem. Theory Comput. 16, 4256 (2020)].
    Without units in the network it is charge equilibration. Equations, uniqueness and limits: docs/populations.md.

    Args:
        channels: Channels of the backbone.
        num_passes: Passes of the backbone.
        elements: Atomic numbers covered.
        hidden: Width of the nonlinear readouts from the environment; 0 for linear ones alone.
        units: Of the network; 0 for none.
        network: "convex": E is a convex function of the populations, with one minimum; "general": it can have several.
        neighbours: Sums over neighbours' populations that the network sees beside the atom's own; 0 for none.
        neighbour_cutoff: Of these sums, Å.
        spin: Whether spins are populations too. Singlets then have none.
        spin_hardness: I of every element at the start, eV.
        potential_tolerance: V; how far the atoms' potentials dE/dq (and dE/ds) may differ from their mean in the end.
        max_steps: Newton's steps, after which they have failed.

    Other arguments are those of `GaussianChargeHead`.
    """

    compiles_open = False  # steps end by what they have reached

    def __init__(
        self,
        channels: int,
        num_passes: int,
        elements: tuple[int, ...],
        hidden: Size = 32,
        units: Size = 16,
        network: Literal["convex", "general"] = "convex",
        neighbours: Size = 2,
        neighbour_cutoff: Positive = 4.0,
        spin: bool = False,
        spin_hardness: Positive = 2.0,
        potential_tolerance: Positive = 1e-10,
        max_steps: Count = 100,
        **settings: Any,
    ):
        super().__init__(channels, num_passes, elements, hidden, **settings)
        self.newton = Newton(potential_tolerance, max_steps, self.solver.failed)
        sums = neighbours if units else 0
        self.network = PopulationNetwork(channels * num_passes, units, hidden, 2 if spin else 1, sums, network)
        self.smooth = SmoothWeights(sums, neighbour_cutoff)
        self.raw_spin_hardness = None
        if spin:
            self.reads, self.writes = (*self.reads, "multiplicity"), (*self.writes, "spin_charges")
            start = math.log(math.expm1(spin_hardness))
            self.raw_spin_hardness = nn.Parameter(torch.full((len(elements),), start))

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """Those of the Coulomb sum, and neighbours whose populations are summed among those that backbones use too."""
        near = {LOCAL: self.smooth.cutoff} if self.smooth.count else {}
        return self.interaction.neighbour_lists | near

    def equilibrated(
        self, graph: AtomicGraph, fields: Fields, parameters: GaussianParameters, options: dict[str, Any]
    ) -> Equilibrated:
        """See `GaussianChargeHead.equilibrated`; how Newton's steps went is in ``convergence``."""
        energy = self.energy(graph, fields, parameters)
        found = minimize_populations(energy, self.totals(graph), self.newton, **options)
        charges, *spins = found.populations.unbind(dim=1)
        others = dict(zip(("spin_charges",), spins, strict=False))
        return Equilibrated(charges, found.energy, [found.convergence], others)

    def energy_at(
        self, graph: AtomicGraph, fields: Fields, charges: Tensor, spin_charges: Tensor | None = None
    ) -> Tensor:
        """E in eV, (B,), at given populations, for example those of constrained DFT, whatever their totals are.

        Args:
            graph: The batch.
            fields: What the backbone writes.
            charges: e, (N,).
            spin_charges: (N,), if there are spins.

        Raises:
            ModelError: Spins are missing, or the energy doesn't know them.
        """
        if (spin_charges is None) != (self.raw_spin_hardness is None):
            raise ModelError(
                "Spins are populations of this energy: give spin_charges too."
                if spin_charges is None
                else "This energy does not know spins: leave spin_charges out, or take a model with spin=true."
            )
        kinds = [charges] if spin_charges is None else [charges, spin_charges]
        energy = self.energy(graph, fields, surrounded(graph, self.parameters_of(graph, fields)))
        return energy.value(torch.stack(kinds, dim=1).to(torch.float64))

    def energy(self, graph: AtomicGraph, fields: Fields, parameters: GaussianParameters) -> PopulationEnergy:
        """E of a batch as a function of the populations, in float64."""
        chi, hardness, widths = (value.to(torch.float64) for value in parameters)
        kinds = [hardness]
        if self.raw_spin_hardness is not None:
            kinds.append(nn.functional.softplus(self.raw_spin_hardness)[self.species(graph.numbers)].to(torch.float64))
        near = graph.local
        return PopulationEnergy(
            electronegativity=in_field(graph, chi, None),
            hardness=torch.stack(kinds, dim=1),
            site=self.network(fields["pass_scalars"].flatten(1)),
            neighbours=NeighbourSums(near.sender, near.receiver, self.smooth(near.lengths)),
            coulomb=self.interaction.bind(graph, widths),
        )

    def totals(self, graph: AtomicGraph) -> Totals:
        """Total charges, and numbers of unpaired electrons."""
        charge = graph.total_charge.to(torch.float64)
        if self.raw_spin_hardness is None:
            return Totals(charge[:, None], torch.ones_like(charge, dtype=torch.bool)[:, None], graph.batch)
        unpaired = graph.multiplicity.to(torch.float64) - 1.0
        free = torch.stack([torch.ones_like(unpaired, dtype=torch.bool), unpaired > 0], dim=1)
        return Totals(torch.stack([charge, unpaired], dim=1), free, graph.batch)
