"""Topic ``qeq``: equilibrated Gaussian charges, open and periodic, directly and by conjugate gradients."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.derivatives import differentiate
from eqff.longrange.equilibration import equilibrate
from eqff.longrange.interaction import LatticeInteraction
from eqff.longrange.kernels import GaussianKernel
from eqff.testing.graphs import graph_of
from eqff.testing.reference.case import Quantity, ReferenceCase

CUTOFF, ACCURACY = 10.0, 1e-14


def quantities(case: ReferenceCase) -> Iterator[Quantity]:
    """Charges, energy, forces and what else the case has, of the cases with Gaussian charges."""
    if "gaussian_widths" not in case.parameters:
        return
    chi, hardness, widths = (
        torch.tensor(case.parameters[key], dtype=torch.float64)
        for key in ("electronegativity", "hardness", "gaussian_widths")
    )
    kernel = GaussianKernel()
    cutoff = max(CUTOFF, 1.06 * kernel.extent(widths, ACCURACY))
    interaction = LatticeInteraction(kernel, cutoff, ACCURACY, include_self=True)
    graph = graph_of([case.atoms], interaction.neighbour_lists, torch.float64, classical=True)
    for iterative in (False, True):

        def energy(deformed: AtomicGraph, iterative: bool = iterative) -> tuple[Tensor, dict[str, Tensor]]:
            found = equilibrate(
                deformed, interaction, chi, hardness, widths, iterative=iterative, tolerance=1e-13, max_iterations=2000
            )
            return found.energy, {"charges": found.charges}

        result = differentiate(energy, graph)
        yield Quantity("energy", result["energy"][0])
        yield Quantity("forces", result["forces"])
        for name in ("charges", "charges_dense"):
            if name in case.results:
                yield Quantity(name, result["charges"])
        if "dcharge_dposition" in case.results:
            jacobian = torch.autograd.functional.jacobian(
                lambda positions: energy(graph.deformed(positions))[1]["charges"], graph.positions
            )
            yield Quantity("dcharge_dposition", jacobian)
    if "kernel_eV" in case.results:
        matrix = interaction.bind(graph, widths).matrix()[0][0] + torch.diag(hardness)
        yield Quantity("kernel_eV", matrix, tolerance_of="energy")
