"""Term of permanent multipoles: the battery in every form, and what it must agree with."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from ase import Atoms
from torch import nn

from eqff import allow
from eqff.derivatives import differentiate
from eqff.errors import ConfigError, ModelError
from eqff.nn.reduce import segment_sum
from eqff.parts import Head
from eqff.terms.coulomb import Coulomb
from eqff.terms.multipoles import Multipoles
from eqff.testing.battery import TermBattery
from eqff.testing.graphs import graph_of
from eqff.testing.structures import closed_shell, crystal, joined, molecule, slab, wire
from eqff.units import COULOMB_CONSTANT

allow(__name__)

CUTOFF = 4.0
STRUCTURES = {"molecule": molecule(1), "wire": wire(2), "slab": slab(3), "crystal": crystal(4)}


class MomentsOfSurroundings(Head):
    """Moments up to quadrupoles that turn and change with the neighbours of an atom, smoothly and within a cutoff."""

    reads = ("numbers",)
    writes = ("charges", "atomic_dipoles", "atomic_quadrupoles")
    neighbour_lists = {"local": CUTOFF}

    def __init__(self, elements: tuple[int, ...]):
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        size = (max(elements) + 1, 3)
        self.weights = nn.Parameter(0.3 * torch.randn(size, generator=generator).to(torch.get_default_dtype()))

    def forward(self, graph, fields):
        edges = graph.local
        x = (edges.lengths / CUTOFF).clamp(max=1.0)
        weights = self.weights[graph.numbers[edges.sender]] * ((1 - x**2) ** 4)[:, None]
        outer = edges.vectors[:, :, None] * edges.vectors[:, None, :]
        eye = torch.eye(3, dtype=outer.dtype)
        outer = 1.5 * outer - 0.5 * (edges.lengths**2)[:, None, None] * eye

        def summed(values):
            return segment_sum(values, edges.receiver, graph.num_atoms)

        return {
            "charges": self.weights[graph.numbers, 0] + summed(weights[:, 0]),
            "atomic_dipoles": 0.5 * summed(weights[:, 1, None] * edges.vectors),
            "atomic_quadrupoles": 0.3 * summed(weights[:, 2, None, None] * outer),
        }


class MultipoleBattery(TermBattery):
    elements = (1, 8)
    conserves = ()  # charged cells are tested too: what surroundings give has no fixed total
    heads = {"moments": {"_target_": f"{__name__}.MomentsOfSurroundings"}}

    def test_far_fragments_add_up(self) -> None:
        """Two far molecules have the sum of their energies, and what the first one's potential does to the second."""
        potential = self.potential()
        first, second = (closed_shell(molecule(seed, size, self.elements)) for seed, size in ((32, 6), (33, 4)))
        both = joined(first, second, [15.0, 3.0, -2.0])
        together, parts = self.predict(potential, [both]), self.predict(potential, [first, second])
        tail = sum(
            energy_in_potential(place, moments, partial(potential_of, both.positions[:6], rows(together, slice(0, 6))))
            for place, moments in zip(
                torch.as_tensor(both.positions[6:]), zip(*rows(together, slice(6, 10)), strict=True), strict=True
            )
        )
        torch.testing.assert_close(together["energy"][0], parts["energy"].sum() + tail, rtol=1e-10, atol=1e-10)


def rows(prediction, chosen):
    return [prediction[name][chosen] for name in MomentsOfSurroundings.writes]


def potential_of(positions, moments, place):
    """Of points: q/r + mu.r/r^3 + r.Theta.r/r^5."""
    charges, dipoles, quadrupoles = moments
    vectors = place - torch.as_tensor(positions)
    lengths = torch.linalg.vector_norm(vectors, dim=1)
    bent = torch.einsum("na,nab,nb->n", vectors, quadrupoles, vectors)
    along = (dipoles * vectors).sum(dim=1)
    return COULOMB_CONSTANT * (charges / lengths + along / lengths**3 + bent / lengths**5).sum()


def energy_in_potential(place, moments, potential):
    """q phi + mu.grad phi + Theta:(grad grad phi)/3, by automatic differentiation."""
    charge, dipole, quadrupole = moments
    gradient, hessian = torch.func.grad(potential)(place), torch.func.hessian(potential)(place)
    return charge * potential(place) + dipole @ gradient + (quadrupole * hessian).sum() / 3


class TestPoint(MultipoleBattery):
    term = {"_target_": "eqff.terms.multipoles.Multipoles", "cutoff": 7.0, "accuracy": 1e-14}


class TestGaussian(MultipoleBattery):
    """Clouds 15 Å apart are points."""

    term = {
        "_target_": "eqff.terms.multipoles.Multipoles",
        "cutoff": 7.0,
        "accuracy": 1e-13,
        "short_range": "gaussian",
        "width": 0.45,
    }


class TestSwitched(MultipoleBattery):
    term = {
        "_target_": "eqff.terms.multipoles.Multipoles",
        "cutoff": 6.5,
        "accuracy": 1e-14,
        "short_range": "switch",
        "switch": [1.0, 3.9],
    }
    special_radii = (1.0, 3.9)


def energy_and_derivatives(term, structures, moments, lists=None):
    graph = graph_of(structures, lists or term.neighbour_lists, torch.float64)
    return differentiate(lambda moved: (term(moved, moments)["energy"], {}), graph, stress=True)


def random_moments(structures, seed=0):
    """Neutral for each structure."""
    rng = np.random.default_rng(seed)
    charges = [rng.normal(size=len(atoms)) for atoms in structures]
    number = sum(map(len, structures))
    return {
        "charges": torch.as_tensor(np.concatenate([q - q.mean() for q in charges])),
        "atomic_dipoles": torch.as_tensor(0.4 * rng.normal(size=(number, 3))),
        "atomic_quadrupoles": torch.as_tensor(0.2 * rng.normal(size=(number, 3, 3))),
    }


@pytest.mark.parametrize("short_range", ["point", "gaussian"])
def test_charges_alone_are_the_coulomb_term(short_range: str):
    structures = list(STRUCTURES.values())
    settings = {"short_range": short_range, "width": 0.5 if short_range == "gaussian" else None, "accuracy": 1e-12}
    moments = random_moments(structures)
    term, coulomb = Multipoles(dipoles=None, quadrupoles=None, **settings), Coulomb(**settings)
    result, expected = (energy_and_derivatives(part, structures, moments) for part in (term, coulomb))
    for name in ("energy", "forces", "virial"):
        torch.testing.assert_close(result[name], expected[name], rtol=1e-9, atol=1e-9)


def as_clouds(atoms: Atoms, rng: np.random.Generator, step: float = 0.02):
    """Charges near each atom, five of them, and the dipole and quadrupole that they stand for."""
    positions, charges, moments = [], [], []
    for place in atoms.positions:
        dipole, axis, size = 0.3 * rng.normal(size=3), rng.normal(size=3), 0.2 * rng.normal()
        strength, axis = np.linalg.norm(dipole), axis / np.linalg.norm(axis)
        positions += [place + h * step * dipole / strength for h in (-0.5, 0.5)]
        charges += [-strength / step, strength / step]
        # +1 -2 +1 along an axis n is a quadrupole Theta = h² (3 n n - 1)
        positions += [place + h * step * axis for h in (-1, 0, 1)]
        charges += [size / step**2, -2 * size / step**2, size / step**2]
        moments.append((dipole, size * (3 * np.outer(axis, axis) - np.eye(3))))
    clouds = Atoms(f"H{len(positions)}", positions, cell=atoms.cell, pbc=atoms.pbc)
    clouds.info.update(total_charge=0, multiplicity=1 + len(clouds) % 2)
    return clouds, torch.tensor(charges, dtype=torch.float64), moments


def own_energies(positions: torch.Tensor, charges: torch.Tensor) -> torch.Tensor:
    """Of five charges each among themselves, (N,)."""
    first, second = torch.combinations(torch.arange(5)).T
    positions, charges = positions.reshape(-1, 5, 3), charges.reshape(-1, 5)
    lengths = torch.linalg.vector_norm(positions[:, first] - positions[:, second], dim=2)
    return COULOMB_CONSTANT * (charges[:, first] * charges[:, second] / lengths).sum(dim=1)


@pytest.mark.parametrize("mesh_from", [1, 10**6], ids=["mesh", "waves"])
def test_moments_are_limits_of_charges(mesh_from: int):
    """Dipoles and quadrupoles have the energy of small clouds of charges, open or periodic, however summed."""
    structures, rng = list(STRUCTURES.values()), np.random.default_rng(2)
    clouds, charges, moments = zip(*(as_clouds(atoms, rng) for atoms in structures), strict=True)
    dipoles, quadrupoles = zip(*(pair for each in moments for pair in each), strict=True)
    values = {"atomic_dipoles": dipoles, "atomic_quadrupoles": quadrupoles}
    term = Multipoles(charges=None, cutoff=5.0, accuracy=1e-8, mesh_from=mesh_from)
    fields = {name: torch.as_tensor(np.array(value)) for name, value in values.items()}
    energy = term(graph_of(structures, term.neighbour_lists, torch.float64), fields)["energy"]
    coulomb = Coulomb(cutoff=5.0, accuracy=1e-14)
    graph = graph_of(clouds, coulomb.neighbour_lists, torch.float64)
    rough = torch.cat(charges)
    expected = coulomb(graph, {"charges": rough})["energy"]
    expected = expected - segment_sum(own_energies(graph.positions, rough), graph.batch[::5], len(structures))
    # what is left is of the order of (0.02 Å / distance)²
    torch.testing.assert_close(energy, expected, rtol=0, atol=2e-3 * float(energy.abs().max()))


def test_groups_leave_out_their_pairs():
    """Of a molecule that is one group nothing is left; of a crystal, what other images do."""
    term = Multipoles(groups="molecules", cutoff=5.0, accuracy=1e-12)
    atoms, large = molecule(1), crystal(4, 2)
    large.set_cell(np.eye(3) * 12)
    large.positions = [[0, 0, 0], [11.2, 0.3, 0.4]]  # neighbours across the boundary
    structures = [atoms, large]
    moments = random_moments(structures) | {"molecules": torch.zeros(len(atoms) + 2, dtype=torch.int64)}
    result = energy_and_derivatives(term, structures, moments)
    assert float(result["energy"][0].abs()) < 1e-10
    wrapped = large.copy()
    wrapped.positions[1, 0] -= 12
    whole = energy_and_derivatives(
        Multipoles(cutoff=5.0, accuracy=1e-12), [wrapped], {k: v[-2:] for k, v in moments.items()}
    )
    alone = wrapped.copy()
    alone.pbc, alone.cell = False, np.zeros((3, 3))
    pair = energy_and_derivatives(Multipoles(), [alone], {k: v[-2:] for k, v in moments.items()})
    torch.testing.assert_close(result["energy"][1], (whole["energy"] - pair["energy"])[0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(result["forces"][-2:], whole["forces"] - pair["forces"], rtol=1e-8, atol=1e-8)


def test_group_wider_than_half_the_cell_is_refused():
    atoms = crystal(4, 3)
    moments = random_moments([atoms]) | {"molecules": torch.zeros(3, dtype=torch.int64)}
    with pytest.raises(ModelError, match="more than half of the cell"):
        energy_and_derivatives(Multipoles(groups="molecules"), [atoms], moments)


def test_settings_that_do_not_go_together():
    with pytest.raises(ConfigError, match="without moments"):
        Multipoles(charges=None, dipoles=None, quadrupoles=None)
    with pytest.raises(ConfigError, match="needs either width"):
        Multipoles(short_range="gaussian")
    with pytest.raises(ConfigError, match="belong to short_range=gaussian"):
        Multipoles(width=1.0)
    with pytest.raises(ConfigError, match="0 <= inner < outer"):
        Multipoles(short_range="switch", switch=(3.0, 2.0))


def test_charged_cells_are_refused_where_one_wants_that():
    atoms = slab(3)
    moments = random_moments([atoms])
    moments["charges"] = moments["charges"] - moments["charges"].mean() + 0.1
    with pytest.raises(ModelError, match="periodic in 2 direction.* net charge"):
        energy_and_derivatives(Multipoles(charged_cell="refuse"), [atoms], moments)


@pytest.mark.parametrize("make", [partial(Coulomb, "charges"), partial(Multipoles, dipoles=None, quadrupoles=None)])
def test_wide_clouds_of_a_molecule_do_not_concern_the_crystal_beside_it(make):
    """A batch is refused only for what one of its structures would be refused for."""
    term = make(short_range="gaussian", widths="widths", cutoff=6.0)
    structures = [molecule(1, 4), crystal(4, 3)]
    graph = graph_of(structures, term.neighbour_lists, torch.float64, classical=True)
    widths = torch.tensor([3.0] * 4 + [0.4] * 3, dtype=torch.float64)
    fields = random_moments(structures) | {"widths": widths}
    assert bool(term(graph, fields)["energy"].isfinite().all())
    with pytest.raises(ModelError, match="Raise cutoff"):
        term(graph, fields | {"widths": widths.flip(0)})
