"""Coulomb term: the battery for each way of summing, and that the ways agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms

from eqff.derivatives import differentiate
from eqff.errors import ConfigError, ModelError
from eqff.longrange.interaction import Interaction, LatticeInteraction
from eqff.longrange.kernels import GaussianKernel, PointKernel, SoftenedKernel, SwitchedKernel
from eqff.longrange.shifted import PairInteraction
from eqff.terms.coulomb import Coulomb
from eqff.testing.battery import MINIMAL_BACKBONE, TermBattery
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, displaced, molecule, slab, wire
from eqff.units import COULOMB_CONSTANT

ELEMENT_CHARGES = {1: 0.4, 6: -0.3, 7: 0.7, 8: -0.6}


class CoulombBattery(TermBattery):
    """With charges by element: no learned part at all."""

    conserves = ()
    heads = {
        "charges": {
            "_target_": "eqff.heads.formal_charges.FormalCharges",
            "charges": ELEMENT_CHARGES,
            "require_total": False,
        }
    }

    def test_far_fragments_add_up(self) -> None:
        """Two far molecules have the sum of their energies and the interaction of their charges, and so have forces."""
        potential = self.potential()
        first, second = molecule(32, 6), molecule(33, 4)
        both = first + second
        both.positions[6:] += [self.fragment_distance, 3.0, -2.0]
        for atoms in (first, second, both):
            atoms.info.update(total_charge=0, multiplicity=1 + int(atoms.numbers.sum()) % 2)
        together, parts = self.predict(potential, [both]), self.predict(potential, [first, second])
        energy, forces = self.tail(both, 6)
        expected = parts["energy"].sum()[None] + energy
        torch.testing.assert_close(together["energy"], expected, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(together["forces"], parts["forces"] + forces, rtol=1e-10, atol=1e-10)

    def tail(self, both: Atoms, split: int) -> tuple[float, torch.Tensor]:
        """Energy and forces between the first ``split`` atoms and the rest."""
        charges = np.array([ELEMENT_CHARGES[z] for z in both.numbers])
        vectors = both.positions[:split, None] - both.positions[None, split:]
        lengths = np.linalg.norm(vectors, axis=-1)
        pairs = COULOMB_CONSTANT * charges[:split, None] * charges[None, split:] / lengths
        each = (pairs / lengths**2)[..., None] * vectors
        return float(pairs.sum()), torch.as_tensor(np.concatenate([each.sum(axis=1), -each.sum(axis=0)]))


class TestPredictedCharges(TermBattery):
    """Charges that follow the geometry: forces go through them."""

    backbone = MINIMAL_BACKBONE
    heads = {"charges": {"_target_": "eqff.heads.charges.Charges", "hidden": 4}}
    term = {"_target_": "eqff.terms.coulomb.Coulomb", "cutoff": 7.0, "accuracy": 1e-12}

    def test_far_fragments_add_up(self) -> None:
        pytest.skip("charges made to sum up over both fragments are not those of each")


class TestEwald(CoulombBattery):
    term = {"_target_": "eqff.terms.coulomb.Coulomb", "cutoff": 7.0, "accuracy": 1e-12}


class TestShiftedForce(CoulombBattery):
    term = {"_target_": "eqff.terms.coulomb.Coulomb", "method": "dsf", "cutoff": 5.0}

    def tail(self, both: Atoms, split: int) -> tuple[float, torch.Tensor]:
        return 0.0, torch.zeros(len(both), 3, dtype=torch.float64)


class TestSwitched(CoulombBattery):
    term = {
        "_target_": "eqff.terms.coulomb.Coulomb",
        "cutoff": 6.5,
        "accuracy": 1e-12,
        "short_range": "switch",
        "switch": [1.0, 3.9],
    }
    special_radii = (1.0, 3.9)


def charges_of(structures: list[Atoms], seed: int = 0) -> torch.Tensor:
    """Random, neutral for each structure."""
    generator = np.random.default_rng(seed)
    each = [generator.normal(size=len(atoms)) for atoms in structures]
    return torch.as_tensor(np.concatenate([values - values.mean() for values in each]))


def summed(interaction: Interaction, structures: list[Atoms], charges: torch.Tensor) -> dict[str, torch.Tensor]:
    graph = graph_of(structures, interaction.neighbour_lists, torch.float64)

    def energy(deformed):
        bound = interaction.bind(deformed)
        return bound.energy(charges), {"potential": bound.potential(charges)}

    return differentiate(energy, graph, stress=True)


EVERY = {"molecule": molecule(1), "wire": wire(2), "slab": slab(3), "crystal": crystal(4)}


@pytest.mark.parametrize("atoms", EVERY.values(), ids=EVERY.keys())
def test_result_does_not_depend_on_the_splitting(atoms: Atoms):
    """Neighbours and waves share the sum differently for every cutoff, and always give the same."""
    charges = charges_of([atoms])
    first, second = (summed(LatticeInteraction(PointKernel(), cutoff, 1e-12), [atoms], charges) for cutoff in (4, 6))
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("atoms", EVERY.values(), ids=EVERY.keys())
def test_mesh_and_waves_agree(atoms: Atoms):
    charges = charges_of([atoms])
    exact = summed(LatticeInteraction(PointKernel(), 4.0, 1e-12), [atoms], charges)
    mesh = summed(LatticeInteraction(PointKernel(), 4.0, 1e-6, mesh_from=1), [atoms], charges)
    size = COULOMB_CONSTANT * float(charges.square().sum())
    assert float((mesh["forces"] - exact["forces"]).abs().max()) < 1e-5 * size
    assert float((mesh["virial"] - exact["virial"]).abs().max()) < 1e-5 * size


@pytest.mark.parametrize("mesh_from", [1, 10**6], ids=["mesh", "waves"])
def test_wire_and_slab_are_limits_of_crystals(mesh_from: int):
    """A crystal whose planes (or rows) move apart, without their dipoles across, becomes the slab (or wire)."""
    for flat in (slab(5), wire(6)):
        images = []
        for atoms in (flat, flat.copy()):
            mirrored = atoms.copy()
            images.append(mirrored)
        double = images[0] + Atoms(images[1].numbers, -images[1].positions)  # an inversion centre: no dipole
        double.info.update(total_charge=0, multiplicity=1)
        double.set_cell(flat.cell)
        double.pbc = flat.pbc
        half = charges_of([flat])
        charges = torch.cat([half, half])
        far = double.copy()
        vectors = np.array(flat.cell)
        for axis in np.flatnonzero(~flat.pbc):
            basis = vectors[flat.pbc]
            others = [v for i, v in enumerate(vectors) if np.linalg.norm(v) > 0 and i != axis]
            normal = np.linalg.svd(np.array(others if len(others) else basis))[2][-1]
            vectors[axis] = 60.0 * normal
        far.set_cell(vectors)
        far.pbc = True
        interaction = LatticeInteraction(PointKernel(), 5.0, 1e-8, mesh_from=10**6)
        low = LatticeInteraction(PointKernel(), 5.0, 1e-6 if mesh_from == 1 else 1e-8, mesh_from=mesh_from)
        limit, here = summed(interaction, [far], charges), summed(low, [double], charges)
        assert float((limit["forces"] - here["forces"]).abs().max()) < 1e-3
        assert float((limit["energy"] - here["energy"]).abs().max()) < 1e-3


def test_matrix_is_the_linear_map():
    structures = list(EVERY.values())
    interaction = LatticeInteraction(GaussianKernel(0.5), 5.0, 1e-10, include_self=True)
    charges = charges_of(structures)
    bound = interaction.bind(graph_of(structures, interaction.neighbour_lists, torch.float64))
    matrix, padding = bound.matrix()
    torch.testing.assert_close(matrix, matrix.transpose(1, 2), rtol=0, atol=1e-11)
    product = padding.scatter((matrix @ padding.gather(charges)[..., None])[..., 0])
    torch.testing.assert_close(product, bound.potential(charges), rtol=1e-11, atol=1e-11)
    energy = 0.5 * torch.zeros(4, dtype=torch.float64).index_add(0, bound.batch, charges * product)
    torch.testing.assert_close(bound.energy(charges), energy, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("atoms", [wire(2), slab(3)], ids=["wire", "slab"])
def test_mesh_goes_with_the_atoms_in_open_directions(atoms: Atoms):
    """Not to its accuracy, but exactly: no net force across a slab, and no energy that depends on its height."""
    interaction, charges = LatticeInteraction(PointKernel(), 5.0, 1e-4, mesh_from=1), charges_of([atoms])
    across = np.linalg.svd(np.asarray(atoms.cell))[2][int(atoms.pbc.sum()) :]
    here, there = (summed(interaction, [displaced(atoms, step * across.sum(axis=0))], charges) for step in (0.0, 37.1))
    for name in ("energy", "forces", "potential"):
        torch.testing.assert_close(there[name], here[name], rtol=0, atol=1e-10)
    assert float((here["forces"].sum(dim=0) @ torch.as_tensor(across.T)).abs().max()) < 1e-10


@pytest.mark.parametrize("mesh_from", [1, 10**6], ids=["mesh", "waves"])
@pytest.mark.parametrize("atoms", EVERY.values(), ids=EVERY.keys())
def test_second_derivatives(atoms: Atoms, mesh_from: int):
    """By positions, strain and charges, together: what training on forces and stress needs."""
    # the box of a slab or wire follows its extent, which changes the energy by what the accuracy leaves out
    interaction = LatticeInteraction(PointKernel(), 4.0, 1e-6, mesh_from=mesh_from)
    graph = graph_of([atoms], interaction.neighbour_lists, torch.float64)

    def energy(positions, strain, charges):
        return interaction.bind(graph.deformed(positions, strain)).energy(charges)

    strain = torch.zeros(1, 3, 3, dtype=torch.float64)
    inputs = [value.requires_grad_() for value in (graph.positions.clone(), strain, charges_of([atoms]))]
    assert torch.autograd.gradgradcheck(energy, inputs, atol=1e-4, rtol=1e-3, fast_mode=True)


def test_mesh_derivatives():
    """Forces and stress of every periodicity in one batch, against differences; the battery runs on waves."""
    structures = [EVERY[name] for name in ("slab", "crystal", "wire", "molecule")]
    interaction = LatticeInteraction(PointKernel(), 4.0, 1e-6, mesh_from=1)
    graph, charges = graph_of(structures, interaction.neighbour_lists, torch.float64), charges_of(structures)

    def energy(positions, strain):
        return interaction.bind(graph.deformed(positions, strain)).energy(charges)

    strain = torch.zeros(4, 3, 3, dtype=torch.float64, requires_grad=True)
    inputs = (graph.positions.clone().requires_grad_(), strain)
    assert torch.autograd.gradcheck(energy, inputs, atol=1e-5, rtol=1e-4, fast_mode=True)


def test_refused_charged_cells():
    graph = graph_of([molecule(1), crystal(4)], Coulomb().neighbour_lists, torch.float64)
    charges = charges_of([molecule(1), crystal(4)]) + 0.1
    assert bool(Coulomb()(graph, {"charges": charges})["energy"].isfinite().all())
    with pytest.raises(ModelError, match="Structure 1 of the batch is periodic in 3 .* net charge of 0.6 e"):
        Coulomb(charged_cell="refuse")(graph, {"charges": charges})


def test_charged_cells_have_a_background():
    """A point charge in a cube with its background has -q²/2 times the Wigner constant 2.8373 over the edge."""
    atoms = Atoms("Na", cell=[7.0] * 3, pbc=True)
    atoms.info.update(total_charge=1, multiplicity=1)
    result = summed(LatticeInteraction(PointKernel(), 6.0, 1e-12), [atoms], torch.ones(1, dtype=torch.float64))
    assert float(result["energy"]) == pytest.approx(-0.5 * 2.837297479480619 * COULOMB_CONSTANT / 7.0, rel=1e-9)


def test_gaussian_charges_are_points_from_afar():
    near, far = ([Atoms("NaCl", [[0, 0, 0], [0, 0, r]], info={"total_charge": 0, "multiplicity": 1})] for r in (1, 20))
    charges = torch.tensor([1.0, -1.0], dtype=torch.float64)
    point, spread = (LatticeInteraction(kernel, 6.0) for kernel in (PointKernel(), GaussianKernel(1.0)))
    torch.testing.assert_close(summed(spread, far, charges)["energy"], summed(point, far, charges)["energy"])
    ratio = summed(spread, near, charges)["energy"] / summed(point, near, charges)["energy"]
    assert float(ratio) == pytest.approx(float(torch.erf(torch.tensor(0.5**0.5))), rel=1e-6)


def test_softened_charges_are_physnets():
    """By its own formula, with a cutoff of 10 Å; in a crystal too, however the sum is split."""
    lengths = np.array([0.3, 1.7, 4.9, 5.1])
    x = np.minimum(2 * lengths / 10, 1)
    switch = 1 - 6 * x**5 + 15 * x**4 - 10 * x**3
    expected = COULOMB_CONSTANT * (switch / np.sqrt(lengths**2 + 1) + (1 - switch) / lengths)
    pairs = [Atoms("HH", [[0, 0, 0], [0, 0, r]], info={"total_charge": 0, "multiplicity": 1}) for r in lengths]
    term = Coulomb(short_range="soften", switch=(0.0, 5.0))
    found = summed(term.interaction, pairs, torch.ones(8, dtype=torch.float64))["energy"]
    torch.testing.assert_close(found, torch.as_tensor(expected), rtol=1e-12, atol=0)
    charges, crystals = charges_of([crystal(4)]), []
    for cutoff in (5.0, 7.0):
        crystals.append(summed(LatticeInteraction(SoftenedKernel(0.0, 4.0), cutoff, 1e-12), [crystal(4)], charges))
    for name in ("energy", "forces", "stress"):
        torch.testing.assert_close(crystals[0][name], crystals[1][name], rtol=0, atol=1e-9)


def test_settings_that_do_not_go_together():
    with pytest.raises(ConfigError, match="method=dsf sums point charges only"):
        Coulomb(method="dsf", short_range="switch")
    with pytest.raises(ConfigError, match="needs either width"):
        Coulomb(short_range="gaussian")
    with pytest.raises(ConfigError, match="belong to short_range=gaussian"):
        Coulomb(width=1.0)
    with pytest.raises(ConfigError, match="0 <= inner < outer"):
        SwitchedKernel(3.0, 2.0)
    with pytest.raises(ConfigError, match="negative"):
        PairInteraction(alpha=-1.0)


def test_widths_that_reach_beyond_the_neighbours_are_refused():
    interaction = LatticeInteraction(GaussianKernel(3.0), 6.0)
    with pytest.raises(ModelError, match="Raise cutoff to"):
        summed(interaction, [crystal(1)], charges_of([crystal(1)]))


@pytest.mark.parametrize("row", range(3))
def test_wires_lie_along_any_axis(row: int):
    """Whichever lattice vector is the periodic one, and wherever it points: all results turn with the wire."""
    positions, charges = wire(6).positions, charges_of([wire(6)])
    interaction, found = LatticeInteraction(PointKernel(), 4.0, 1e-12), []
    for axis in range(3):
        turn = np.roll(np.eye(3), axis, axis=1)  # x becomes this axis
        cell = np.zeros((3, 3))
        cell[row, axis] = 3.6
        atoms = Atoms(wire(6).numbers, positions @ turn, cell=cell, pbc=np.arange(3) == row)
        atoms.info.update(total_charge=0, multiplicity=1)
        result, back = summed(interaction, [atoms], charges), torch.as_tensor(turn.T.copy())
        found.append((result["energy"], result["forces"] @ back, back.T @ result["virial"][0] @ back))
    for other in found[1:]:
        for value, expected in zip(other, found[0], strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)
