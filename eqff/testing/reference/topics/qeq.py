"""Topic ``qeq``: equilibrated charges of every kind, open and periodic, directly and by conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.derivatives import differentiate
from eqff.longrange.charge_transfer import equilibrate_by_transfer
from eqff.longrange.equilibration import equilibrate
from eqff.longrange.interaction import Interaction, LatticeInteraction
from eqff.longrange.kernels import GaussianKernel, PointKernel
from eqff.longrange.neighbours import CutInteraction, ShieldedInteraction
from eqff.longrange.slater import SlaterKernel
from eqff.nn.coordination import coordination_numbers, eeq_electronegativity
from eqff.testing.graphs import graph_of
from eqff.testing.reference.case import Quantity, ReferenceCase

CUTOFF, ACCURACY, MESH_FROM = 10.0, 1e-14, 10**6
BONDS, REACH = "bonds", 10.0
"""The list that coordination is counted in, up to 1.8 times the longest bond (Å)."""
RADII_IN_BOHR = 0.529177210903 / 0.52917721067
"""The references keep covalent radii in bohr of CODATA 2014."""
ITERATIONS = {"tolerance": 1e-13, "max_iterations": 2000}


def quantities(case: ReferenceCase) -> Iterator[Quantity]:
    """Charges, energy, forces and what else the case has."""
    if "softness_inv_eV" in case.parameters:
        yield from _acks2(case)
    elif "gaussian_widths" in case.parameters:
        yield from _gaussian(case)
    else:
        yield from _of_neighbours(case)


def _gaussian(case: ReferenceCase) -> Iterator[Quantity]:
    chi, hardness, widths = (_tensor(case, key) for key in ("electronegativity", "hardness", "gaussian_widths"))
    kernel = GaussianKernel()
    cutoff = max(CUTOFF, 1.06 * kernel.extent(widths, ACCURACY))
    interaction = LatticeInteraction(kernel, cutoff, ACCURACY, MESH_FROM, include_self=True)
    graph = graph_of([case.atoms], interaction.neighbour_lists | {BONDS: REACH}, torch.float64, classical=True)
    for iterative in (False, True):
        energy = partial(_energy, interaction, lambda graph: chi, hardness, widths, iterative)
        result = differentiate(energy, graph, stress=True)
        yield Quantity("energy", result["energy"][0])
        yield Quantity("forces", result["forces"])
        yield Quantity("stress", result["stress"][0], tolerance_of="forces")
        for name in ("charges", "charges_dense"):
            yield Quantity(name, result["charges"])
        if "dcharge_dposition" in case.results:
            yield Quantity("dcharge_dposition", _charge_derivatives(energy, graph))
        if "forces_with_cn_derivative" in case.results:
            follows = partial(_energy, interaction, partial(_electronegativity, case), hardness, widths, iterative)
            forces = differentiate(follows, graph)["forces"]
            yield Quantity("forces_with_cn_derivative", forces, tolerance_of="forces")
    if "kernel_eV" in case.results:
        matrix = interaction.bind(graph, widths).matrix()[0][0] + torch.diag(hardness)
        yield Quantity("kernel_eV", matrix, tolerance_of="energy")


def _of_neighbours(case: ReferenceCase) -> Iterator[Quantity]:
    """The force fields' charges: interactions that end at a cutoff."""
    cutoff, inverse_widths = case.parameters["cutoff"], None
    interaction: Interaction
    if case.parameters.get("gamma_inv_A") is not None:
        interaction, inverse_widths = ShieldedInteraction(cutoff), _tensor(case, "gamma_inv_A")
    elif case.parameters.get("zeta_inv_A") is not None:
        interaction = CutInteraction(SlaterKernel(), cutoff, case.parameters.get("alpha_inv_A"))
        inverse_widths = _tensor(case, "zeta_inv_A")
    else:
        interaction = CutInteraction(PointKernel(), cutoff)
    widths = None if inverse_widths is None else 1 / inverse_widths
    chi, hardness = _tensor(case, "electronegativity"), _tensor(case, "hardness")
    graph = graph_of([case.atoms], interaction.neighbour_lists, torch.float64, classical=True)
    for iterative in (False, True):
        energy = partial(_energy, interaction, lambda graph: chi, hardness, widths, iterative)
        result = differentiate(energy, graph, stress=True)
        yield Quantity("energy", result["energy"][0])
        yield Quantity("charges", result["charges"])
        yield Quantity("forces", result["forces"])
        yield Quantity("stress", result["stress"][0], tolerance_of="forces")


def _acks2(case: ReferenceCase) -> Iterator[Quantity]:
    """Softness X_ij = X0 t³ (1 - t)⁶ with t = 2 r / (b_i + b_j)."""
    interaction, reach = ShieldedInteraction(case.parameters["cutoff"]), _tensor(case, "bond_cut_A")
    lists = interaction.neighbour_lists | {"bonds": float(reach.max())}
    graph = graph_of([case.atoms], lists, torch.float64, classical=True)
    bonds = graph.edges["bonds"]
    t = (2 * bonds.lengths / (reach[bonds.sender] + reach[bonds.receiver])).clamp(max=1.0)
    softness = case.parameters["softness_inv_eV"] * t**3 * (1 - t) ** 6
    chi, hardness = _tensor(case, "electronegativity"), _tensor(case, "hardness")
    widths = 1 / _tensor(case, "gamma_inv_A")
    found = equilibrate_by_transfer(graph, interaction, chi, hardness, widths, bonds, softness)
    yield Quantity("charges", found.charges)


def _energy(
    interaction: Interaction,
    electronegativity: Callable[[AtomicGraph], Tensor],
    hardness: Tensor,
    widths: Tensor | None,
    iterative: bool,
    graph: AtomicGraph,
) -> tuple[Tensor, dict[str, Tensor]]:
    chi = electronegativity(graph)
    found = equilibrate(graph, interaction, chi, hardness, widths, iterative=iterative, **ITERATIONS)
    return found.energy, {"charges": found.charges}


def _electronegativity(case: ReferenceCase, graph: AtomicGraph) -> Tensor:
    """That of EEQ, which follows the coordination."""
    coordination = coordination_numbers(graph.edges[BONDS], graph.numbers, stretch=4 / 3 * RADII_IN_BOHR)
    return eeq_electronegativity(_tensor(case, "eeq_chi_eV"), _tensor(case, "eeq_kappa_eV"), coordination)


def _charge_derivatives(energy: Callable[..., tuple[Tensor, dict[str, Tensor]]], graph: AtomicGraph) -> Tensor:
    return torch.autograd.functional.jacobian(
        lambda positions: energy(graph.deformed(positions))[1]["charges"], graph.positions
    )


def _tensor(case: ReferenceCase, key: str) -> Tensor:
    return torch.tensor(case.parameters[key], dtype=torch.float64)
