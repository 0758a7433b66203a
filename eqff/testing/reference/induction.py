"""Reference cases of induced dipoles: energies, forces, dipoles, polarizabilities and what a field does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.derivatives import differentiate
from eqff.longrange.induction.modes import Induced, InductionMode, Mutual, Steps
from eqff.longrange.induction.mutual import InductionSolver, induced_damping
from eqff.longrange.induction.response import atomic_response, interacting_polarizability
from eqff.longrange.multipoles.interaction import MultipoleInteraction
from eqff.longrange.multipoles.moments import Moments
from eqff.longrange.multipoles.points import potential_at
from eqff.longrange.multipoles.scaling import PairScaling
from eqff.nn.reduce import segment_sum
from eqff.testing.graphs import graph_of
from eqff.testing.reference.case import Quantity, ReferenceCase
from eqff.testing.reference.frames import moments_that_turn

ITERATIONS = InductionSolver(tolerance=1e-12, max_iterations=200, dense_up_to=0)
FACTORISED = InductionSolver(dense_up_to=10**6)
MODES: tuple[tuple[str, InductionMode], ...] = (
    ("direct", Steps(0)),
    ("mutual", Mutual(FACTORISED)),
    ("mutual", Mutual(ITERATIONS)),
)

FollowingMoments = Callable[[AtomicGraph], Moments]


@dataclass(frozen=True)
class PolarizableSystem:
    """A case's system.

    Attributes:
        interaction: How everything is summed.
        polarizabilities: alpha in Å³, (N, 3, 3).
        strength: Thole's a, (N,).
        scaling: Pairs without permanent interaction.
    """

    interaction: MultipoleInteraction
    polarizabilities: Tensor
    strength: Tensor
    scaling: PairScaling | None

    @classmethod
    def of(
        cls, case: ReferenceCase, interaction: MultipoleInteraction, scaling: PairScaling | None
    ) -> PolarizableSystem:
        """From the case's parameters."""
        sizes = torch.tensor(case.parameters["polarizabilities"], dtype=torch.float64)
        strength = torch.tensor(case.parameters["thole"], dtype=torch.float64)
        return cls(interaction, torch.diag_embed(sizes[:, None].expand(-1, 3)), strength, scaling)

    def energy(self, graph: AtomicGraph, moments: Moments, mode: InductionMode) -> tuple[Tensor, Induced]:
        """Energy of permanent and induced moments in eV, (B,), and the induction."""
        permanent = self.interaction.bind(graph, scaling=self.scaling)
        damping = induced_damping(self.polarizabilities, self.strength)
        bound = self.interaction.bind(graph, damping, field_rank=1)
        damped = bound if self.scaling is None else bound.rescaled(damping, self.scaling)
        external = damped.fields(moments, rank=1).field + graph.electric_field[graph.batch]
        found = mode.induce(graph, self.interaction, external, self.polarizabilities, self.strength, bound=bound)
        return permanent.energy(moments) + found.energy, found


def induced(case: ReferenceCase, graph: AtomicGraph, system: PolarizableSystem, moments: Moments) -> Iterator[Quantity]:
    """Every result with permanent and induced moments."""
    for name, mode in MODES:
        if f"energy_{name}" in case.results or name == "mutual":
            yield from _of_mode(case, graph, system, moments, name, mode)
    if case.results.get("esp_mutual") is not None:
        points = torch.tensor(case.results["esp_points"], dtype=torch.float64)
        dipoles = moments.dipoles + system.energy(graph, moments, Mutual(FACTORISED))[1].dipoles
        total = Moments(moments.charges, dipoles, moments.quadrupoles)
        potential = potential_at(points, torch.zeros(len(points), dtype=torch.int64), graph, total)
        yield Quantity("esp_mutual", potential, tolerance_of="energy")
    if "forces_mutual_with_frames" in case.results:
        waters = [group for group in case.parameters["exclusion_groups"] if len(group) > 1]
        following = moments_that_turn(graph, moments, waters)
        result = _differentiated(graph, system, following, Mutual(FACTORISED))
        yield Quantity("forces_mutual_with_frames", result["forces"])
    if "total_dipole" in case.results:
        yield from _dipole_and_its_derivative(graph, system, moments)


def _of_mode(
    case: ReferenceCase,
    graph: AtomicGraph,
    system: PolarizableSystem,
    moments: Moments,
    name: str,
    mode: InductionMode,
) -> Iterator[Quantity]:
    result = _differentiated(graph, system, lambda moved: moments, mode)
    result["energy"] = result["energy"][0]
    for end in (f"_{name}", "") if name == "mutual" else (f"_{name}",):
        for key in ("energy", "forces", "induced_dipoles"):
            if case.results.get(key + end) is not None:
                # cases about dipoles alone have no tolerance for the rest
                yield Quantity(key + end, result[key], tolerance_of=key if key in case.tolerance else "total_dipole")
    if f"energy_polarization_{name}" in case.results:
        yield Quantity(f"energy_polarization_{name}", result["induction"][0], tolerance_of="energy")


def _differentiated(
    graph: AtomicGraph, system: PolarizableSystem, moments: FollowingMoments, mode: InductionMode
) -> dict[str, Tensor]:
    def energy(moved: AtomicGraph) -> tuple[Tensor, dict[str, Tensor]]:
        total, found = system.energy(moved, moments(moved), mode)
        return total, {"induced_dipoles": found.dipoles, "induction": found.energy}

    return differentiate(energy, graph)


def _dipole_and_its_derivative(graph: AtomicGraph, system: PolarizableSystem, moments: Moments) -> Iterator[Quantity]:
    def dipole(positions: Tensor) -> Tensor:
        moved = graph.deformed(positions)
        found = system.energy(moved, moments, Mutual(FACTORISED))[1]
        atoms = moments.charges[:, None] * moved.positions + moments.dipoles + found.dipoles
        return segment_sum(atoms, moved.batch, 1)[0]

    yield Quantity("total_dipole", dipole(graph.positions))
    derivative = torch.autograd.functional.jacobian(dipole, graph.positions)  # [b, k, a]
    yield Quantity("born_charges", derivative.permute(1, 2, 0))


def responses(case: ReferenceCase, graph: AtomicGraph, system: PolarizableSystem) -> Iterator[Quantity]:
    """Dipoles in a uniform field."""
    for solver in (FACTORISED, ITERATIONS):
        arguments = (graph, system.interaction, system.polarizabilities, system.strength, solver)
        if any(case.results.get(name) is not None for name in ("polarizability", "atomic_response")):
            yield Quantity("polarizability", interacting_polarizability(*arguments)[0])
            yield Quantity("atomic_response", atomic_response(*arguments), tolerance_of="polarizability")


def pair_scan(case: ReferenceCase, system: PolarizableSystem) -> Iterator[Quantity]:
    """Polarizabilities of two atoms against their distance."""
    structures, scan = [], case.results["scan"]
    for point in scan:
        atoms = case.atoms.copy()
        atoms.positions[1] = [0.0, 0.0, point["distance"]]
        structures.append(atoms)
    graph = graph_of(structures, system.interaction.neighbour_lists, torch.float64, classical=True)
    alpha, strength = system.polarizabilities.repeat(len(scan), 1, 1), system.strength.repeat(len(scan))
    found = interacting_polarizability(graph, system.interaction, alpha, strength, FACTORISED)
    diagonals = found.diagonal(dim1=1, dim2=2)
    values = {"alpha_parallel": diagonals[:, 2], "alpha_perpendicular": diagonals[:, 0], "dense": diagonals}
    for key, value in values.items():
        if all(point.get(key) is not None for point in scan):
            yield Quantity(f"scan.{key}", value, [point[key] for point in scan], tolerance_of="polarizability")
