"""Topic ``quantum``: moments, responses and potentials of a quantum-chemical calculation.

eqff has no model of these levels of theory, so energies and forces stay unchecked. What can be checked without one:

- *Energy derivative and moments agree*: a potential is made of atoms with Mulliken's charges, dipoles that bring their
  sum to the case's, and polarizabilities that, interacting, bring the response to the case's. What -dE/dF and -d²E/dF²
  of its energy give (through induction solved, and differentiated twice) has to be what went in, in eV, V/Å and Å³.
- *Signs and factors of every rank*: charge, dipole and quadrupole at one centre make the potential at the case's
  points, 3 to 6 Å away, up to octupoles and hexadecapoles, which are fitted, and what still higher moments add; the
  quadrupole must bring it nearer.
- *Energies far apart*: an ion and a molecule attract each other by the latter's dipole, quadrupole and polarizability.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from ase import Atoms
from e3nn.o3 import spherical_harmonics
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.data.values import second_moment_to_quadrupole
from eqff.errors import DataError
from eqff.longrange.induction.mutual import InductionSolver
from eqff.longrange.induction.polarizabilities import respond
from eqff.longrange.induction.response import interacting_polarizability
from eqff.longrange.multipoles.interaction import MultipoleInteraction
from eqff.longrange.multipoles.moments import Moments
from eqff.longrange.multipoles.points import potential_at
from eqff.parts import Fields, Head
from eqff.potential import Potential
from eqff.response.from_energy import energy_response
from eqff.response.totals import origins, total_dipole
from eqff.terms.induction import Induction
from eqff.terms.uniform_field import UniformField
from eqff.testing.graphs import graph_of
from eqff.testing.reference.case import Quantity, ReferenceCase, read_case

ESP_ALLOWED = 0.03
"""Of the points' root mean square: what moments beyond hexadecapoles may add 3 to 6 Å away (formaldehyde has 0.003)."""

FITTED_RANKS = (3, 4)

POINTS_NEEDED = 48
"""Three for each component that is fitted."""

FAR = 6.0
"""Å; nearer, moments do not explain an interaction."""

FAR_ALLOWED = 0.01
"""Of the interaction of an ion and a molecule 7 Å apart: overlap, higher moments, hyperpolarizability."""

_FITS = 100
_FITTED = 1e-10  # Å³


class GivenMoments(Head):
    """Moments of the atoms of one structure, as they are.

    Args:
        charges: e, (N,).
        dipoles: e·Å, (N, 3).
        polarizabilities: Å³, (N, 3, 3).
    """

    writes = ("charges", "atomic_dipoles", "atomic_polarizabilities")

    def __init__(self, charges: Tensor, dipoles: Tensor, polarizabilities: Tensor):
        super().__init__()
        for name, value in zip(self.writes, (charges, dipoles, polarizabilities), strict=True):
            self.register_buffer(name, value)

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """What was given."""
        return {name: getattr(self, name) for name in self.writes}


def quantities(case: ReferenceCase) -> Iterator[Quantity]:
    """What is said above, as far as the case has it."""
    if case.results.get("frames"):
        yield from _scan(case)
        return
    if case.results.get("dipole") is None:
        return
    if case.results.get("mulliken_charges") is not None:
        found = _responses(case.atoms, case.results)
        yield Quantity("dipole", found["dipole"])
        yield Quantity("polarizability", found["polarizability"], tolerance_of="dipole")
    if len(case.results.get("esp") or ()) >= POINTS_NEEDED:
        first, second = _potential_errors(case)
        # a molecule's moments must explain the potential, and the quadrupole must be of use
        yield Quantity("esp.error_beyond_allowed", max(second - ESP_ALLOWED, 0.0), 0.0, tolerance_of="dipole")
        yield Quantity("esp.worse_with_quadrupole", max(second - first, 0.0), 0.0, tolerance_of="dipole")


def _scan(case: ReferenceCase) -> Iterator[Quantity]:
    dipoles = []
    for frame in case.results["frames"]:
        atoms = case.atoms.copy()
        atoms.positions = frame["positions"]
        dipoles.append(_responses(atoms, frame)["dipole"])
    yield Quantity("frames.dipole", np.stack(dipoles), [frame["dipole"] for frame in case.results["frames"]])
    water = _molecule_beside(case)
    if water is not None:
        expected, found = _far_attraction(case, water)
        excess = max(abs(found / expected - 1) - FAR_ALLOWED, 0.0)
        yield Quantity("frames.far_energy_beyond_allowed", excess, 0.0, tolerance_of="dipole")


def _responses(atoms: Atoms, results: Mapping) -> dict[str, np.ndarray]:
    """Dipole, and polarizability if there is one, as derivatives of the energy of atoms that were given them."""
    terms = {"field": UniformField(dipoles="atomic_dipoles"), "induction": Induction(charges=None, accuracy=1e-12)}
    lists = terms["induction"].neighbour_lists
    graph = graph_of([atoms], lists, torch.float64, classical=True)
    charges = _tensor(results["mulliken_charges"])
    missing = _tensor(results["dipole"]) - total_dipole(graph, Moments(charges))[0]
    dipoles = (missing / len(atoms)).expand(len(atoms), 3).clone()
    wanted = results.get("polarizability")
    alpha = torch.zeros(len(atoms), 3, 3, dtype=torch.float64) if wanted is None else _fitted(graph, _tensor(wanted))
    head = GivenMoments(charges, dipoles, alpha)
    potential = Potential(None, terms, {"moments": head}, elements=tuple(set(atoms.numbers.tolist())))
    found = energy_response(potential, graph)
    return {"dipole": found.dipole[0].numpy(), "polarizability": found.polarizability[0].numpy()}


def _fitted(graph: AtomicGraph, wanted: Tensor) -> Tensor:
    """Polarizabilities of atoms, shared out by atomic number, whose interacting response is the wanted one."""
    weights = (graph.numbers / graph.numbers.sum())[:, None, None].to(torch.float64)
    interaction = MultipoleInteraction(accuracy=1e-12)
    summed = wanted
    for _ in range(_FITS):
        found = interacting_polarizability(graph, interaction, weights * summed, 0.39, InductionSolver())[0]
        if float((found - wanted).abs().max()) < _FITTED:
            return weights * summed
        summed = summed + 0.5 * (wanted - found + (wanted - found).T) / 2
    raise DataError(f"No polarizabilities of the atoms give the molecular one: {wanted.tolist()} Å³.")


def _potential_errors(case: ReferenceCase) -> tuple[float, float]:
    """Relative errors of the potential without and with the quadrupole, at the centre of nuclear charge."""
    site, charge, dipole, quadrupole = _at_one_centre(case)
    points, expected = _tensor(case.results["esp_points"]), _tensor(case.results["esp"])
    first = torch.zeros(len(points), dtype=torch.int64)
    vectors = points - site.positions
    lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    higher = [spherical_harmonics(rank, vectors, True) / lengths ** (rank + 1) for rank in FITTED_RANKS]
    basis = torch.cat(higher, dim=1)
    errors = []
    for moments in (Moments(charge, dipole), Moments(charge, dipole, quadrupole)):
        difference = expected - potential_at(points, first, site, moments)
        difference = difference - basis @ torch.linalg.lstsq(basis, difference).solution
        errors.append(float(difference.norm() / expected.norm()))
    return errors[0], errors[1]


def _at_one_centre(case: ReferenceCase) -> tuple[AtomicGraph, Tensor, Tensor, Tensor]:
    """One site at the centre of nuclear charge, with the case's charge, dipole and quadrupole about it."""
    centre = origins(graph_of([case.atoms], {}, torch.float64, classical=True), "center_of_nuclear_charge")[0]
    charge = float(case.atoms.info.get("total_charge", 0.0))
    dipole = _tensor(case.results["dipole"])
    moved = dipole[:, None] * centre
    second = _tensor(case.results["second_moment"]) - moved - moved.T + charge * centre[:, None] * centre
    quadrupole = torch.as_tensor(second_moment_to_quadrupole(second.numpy()))
    return _sites([8], [centre.tolist()]), _tensor([charge]), (dipole - charge * centre)[None], quadrupole[None]


def _molecule_beside(case: ReferenceCase) -> ReferenceCase | None:
    """The water molecule of an ion's scan with its own moments, if the ion gets far enough and it is the same one."""
    beside = case.path.parent / "water.json"
    if case.results.get("na_plus_energy") is None or not beside.is_file():
        return None
    water, positions = read_case(beside), np.asarray(case.results["frames"][-1]["positions"])
    alike = len(positions) == 4 and np.allclose(positions[:3], water.atoms.positions)
    far = np.linalg.norm(positions[3:] - positions[:3], axis=1).min(initial=np.inf) > FAR
    return water if alike and far else None


def _far_attraction(case: ReferenceCase, water: ReferenceCase) -> tuple[float, float]:
    """The interaction of the farthest frame's ion and molecule in eV: the case's, and that of their moments."""
    frame, results = case.results["frames"][-1], case.results
    site, _, dipole, quadrupole = _at_one_centre(water)
    graph = _sites([8, 11], [site.positions[0].tolist(), frame["positions"][3]])
    nothing = torch.zeros_like(dipole)
    charges = _tensor([0.0, 1.0])
    moments = Moments(charges, torch.cat([dipole, nothing]), torch.cat([quadrupole, torch.zeros_like(quadrupole)]))
    bound = MultipoleInteraction(accuracy=1e-12).bind(graph)
    ion = bound.fields(Moments(charges), rank=1).field[:1]
    induced = respond(_tensor(water.results["polarizability"])[None], ion)
    found = float(bound.energy(moments)[0] - 0.5 * (induced * ion).sum())
    return frame["energy"] - results["water_energy"] - results["na_plus_energy"], found


def _sites(numbers: list[int], positions: list) -> AtomicGraph:
    sites = Atoms(numbers, positions)
    return graph_of([sites], MultipoleInteraction(accuracy=1e-12).neighbour_lists, torch.float64, classical=True)


def _tensor(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
