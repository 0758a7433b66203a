"""Moments of a table in local frames: the battery, AMOEBA's water, every kind of frame, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import make_supercell, molecule
from scipy.spatial.transform import Rotation

from eqff.build import build_potential
from eqff.errors import ConfigError, ModelError
from eqff.heads.given_multipoles import GivenMultipoles
from eqff.heads.tabulated_multipoles import TabulatedMultipoles
from eqff.longrange.multipoles.frames import FRAMES
from eqff.testing.battery import TermBattery
from eqff.testing.compare import assert_close
from eqff.testing.graphs import graph_of
from eqff.testing.structures import displaced, joined
from eqff.testing.tolerances import FINITE_DIFFERENCE, INVARIANCE

# AMOEBA's water of 2018
OXYGEN = {
    "charge": -0.51966,
    "dipole": [0.0, 0.0, 0.0755614],
    "quadrupole": [0.106209, 0.0, -0.117077, 0.0, 0.0, 0.010868],
    "frame": "bisector",
}
HYDROGEN = {
    "charge": 0.25983,
    "dipole": [-0.0204203, 0.0, -0.0307504],
    "quadrupole": [-0.0102855, 0.0, -0.0300723, -0.00056846, 0.0, 0.0403578],
    "frame": "z_then_x",
}
SITES = {"O": OXYGEN | {"axes": ["H", "H"]}, "H": HYDROGEN | {"axes": ["O", "H"]}}
ATOMS = [
    OXYGEN | {"element": "O", "axes": [1, 2]},
    HYDROGEN | {"element": "H", "axes": [0, 2]},
    HYDROGEN | {"element": "H", "axes": [0, 1]},
]
TABULATED = {"_target_": "eqff.heads.tabulated_multipoles.TabulatedMultipoles", "sites": SITES}
GIVEN = {"_target_": "eqff.heads.given_multipoles.GivenMultipoles", "atoms": ATOMS}
TERM = {"_target_": "eqff.terms.multipoles.Multipoles", "cutoff": 4.0, "accuracy": 1e-12}


def waters(seed: int, places, cell=None, pbc=False) -> Atoms:
    """Distorted molecules, each turned at random."""
    rng = np.random.default_rng(seed)
    atoms = Atoms(cell=cell, pbc=pbc)
    for place in places:
        one = molecule("H2O")
        one.positions = Rotation.random(rng=rng).apply(one.positions + rng.normal(0, 0.05, (3, 3))) + place
        atoms += one
    atoms.info.update(total_charge=0, multiplicity=1)
    return atoms


def oblique(*directions) -> np.ndarray:
    return np.array([[5.2, 0.3, -0.2], [-0.6, 5.5, 0.4], [0.5, 0.2, 5.1]]) * np.array(directions)[:, None]


class WaterBattery(TermBattery):
    """The checks on molecules of water, since a table of kinds knows no others."""

    elements = (1, 8)
    perturbation = 0.0
    term = TERM

    def structures(self):
        pair = [(0, 0, 0), (2.6, 0.8, 0.5)]
        return {
            "cluster": waters(1, [*pair, (0.2, 2.7, 1.1)]),
            "wire": waters(2, pair[:1], oblique(1, 0, 0), (True, False, False)),
            "slab": waters(3, pair, oblique(1, 1, 0), (True, True, False)),
            "crystal": waters(4, pair, oblique(1, 1, 1), True),
        }

    def test_supercell(self) -> None:
        """Repeating a cell repeats its energy, stress, forces and moments."""
        potential, cell = self.potential(), self.structures()["crystal"]
        large = make_supercell(cell, np.array([[2, 0, 0], [0, 1, 0], [1, 0, 1]]), wrap=False, order="cell-major")
        large.info.update(cell.info)
        one, two = self.predict(potential, [cell]), self.predict(potential, [large])
        assert_close(two["energy"], 2 * one["energy"], INVARIANCE[torch.float64], "energy")
        for name in ("forces", "atomic_dipoles", "atomic_quadrupoles"):
            assert_close(two[name], torch.cat([one[name], one[name]]), INVARIANCE[torch.float64], name)

    def test_far_fragments_add_up(self) -> None:
        """Two molecules 3 µm apart have the sum of their energies."""
        potential, (first, second) = self.potential(), (waters(seed, [(0, 0, 0)]) for seed in (5, 6))
        together = self.predict(potential, [joined(first, second, [3e4, 0.0, 0.0])])
        parts = self.predict(potential, [first, second])
        assert_close(together["energy"], parts["energy"].sum()[None], 1e-12, "energy")

    def test_totals_hold(self) -> None:
        """Molecules are neutral; where charges miss the total, that is an error."""
        atoms = waters(7, [(0, 0, 0)])
        atoms.info.update(total_charge=1, multiplicity=2)
        with pytest.raises(ModelError, match=r"add up to 0\.0000 e, but its total charge is 1 e"):
            self.predict(self.potential(), [atoms])

    def test_smooth_at_cutoffs(self) -> None:
        """As one molecule crosses the cutoff of the other's; bonds are not scanned, where kinds change."""
        potential, cell = self.potential(), np.eye(3) * 11
        steps = [4.0 - 1e-7, 4.0 + 1e-7]
        pair = [waters(8, [(0, 0, 0), (step, 0, 0)], cell, True) for step in steps]
        for atoms, step in zip(pair, steps, strict=True):
            atoms.positions[3:] += np.array([step, 0, 0]) - (atoms.positions[3] - atoms.positions[0])
        before, after = self.predict(potential, pair)["forces"].reshape(2, 6, 3)
        assert_close(before, after, 1e-6, "forces", 1.0)


class TestTabulated(WaterBattery):
    heads = {"moments": TABULATED}


class TestGiven(WaterBattery):
    heads = {"moments": GIVEN}

    def test_permutation(self) -> None:
        """Atoms in another order are another molecule: an error, and none that could be missed."""
        with pytest.raises(ModelError, match="not made of copies"):
            self.predict(self.potential(), [self.structures()["cluster"][[1, 0, 2, 3, 4, 5, 6, 7, 8]]])


def moments_of(head, structures):
    return head(graph_of(structures, head.neighbour_lists, torch.float64), {})


def test_both_ways_of_giving_them_agree():
    structures = [waters(1, [(0, 0, 0), (3, 0, 0)]), waters(2, [(0, 0, 0)], oblique(1, 1, 1), True)]
    structures[1].wrap()
    one = moments_of(TabulatedMultipoles(SITES, (1, 8)), structures)
    two = moments_of(GivenMultipoles(ATOMS), structures)
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], rtol=1e-12, atol=1e-14)


def test_moments_of_water_by_hand():
    water = molecule("H2O")  # its bisector along -z, in the plane of y and z
    water.info.update(total_charge=0, multiplicity=1)
    found = moments_of(TabulatedMultipoles(SITES, (1, 8)), [water])
    expected = np.diag([-0.117077, 0.106209, 0.010868])  # y of the frame is x here
    assert found["atomic_dipoles"][0].tolist() == pytest.approx([0, 0, -0.0755614], abs=1e-14)
    np.testing.assert_allclose(found["atomic_quadrupoles"][0].numpy(), expected, atol=1e-14)
    bond = water.positions[0] - water.positions[1]
    bond /= np.linalg.norm(bond)
    plane = water.positions[2] - water.positions[1]
    plane -= plane @ bond * bond
    plane /= np.linalg.norm(plane)
    assert found["atomic_dipoles"][1].tolist() == pytest.approx((-0.0204203 * plane - 0.0307504 * bond).tolist())


def test_torques_are_those_of_a_turning_dipole():
    """A dipole on the far end of a bond, in a field: its torque acts on both atoms as a pair of forces."""
    head = TabulatedMultipoles(
        {"H": {"charge": 0.0, "dipole": [0, 0, 0.4], "frame": "z_only", "axes": ["F"]}, "F": {"charge": 0.0}}, (1, 9)
    )
    atoms = Atoms("HF", [[0, 0, 0], [0, 0, 0.9]], info={"total_charge": 0, "multiplicity": 1})
    graph = graph_of([atoms], head.neighbour_lists, torch.float64)
    positions = graph.positions.clone().requires_grad_()
    dipole = head(graph.deformed(positions), {})["atomic_dipoles"].sum(dim=0)
    field = torch.tensor([1.5, 0.0, 0.7], dtype=torch.float64)
    forces = torch.autograd.grad(dipole @ field, positions)[0]
    expected = [-0.4 / 0.9 * 1.5, 0.0, 0.0]  # mu x E over the length of the bond
    assert forces[0].tolist() == pytest.approx(expected) and (forces[0] + forces[1]).abs().max() < 1e-14


VECTORS = torch.tensor([[1.0, 0.2, -0.3], [-0.4, 1.1, 0.3], [0.2, -0.5, 0.9]], dtype=torch.float64)


@pytest.mark.parametrize("name", FRAMES)
def test_frames_are_orthonormal_and_turn(name):
    frame = FRAMES[name]
    vectors = VECTORS[None, : frame.atoms]
    axes, margin = frame.axes(vectors)
    torch.testing.assert_close(axes @ axes.transpose(1, 2), torch.eye(3, dtype=torch.float64)[None])
    assert 0.01 < float(margin) <= 1
    if name in ("none", "z_only"):
        return  # their x is any
    turn = torch.as_tensor(Rotation.random(rng=np.random.default_rng(3)).as_matrix())
    torch.testing.assert_close(frame.axes(vectors @ turn.T)[0], axes @ turn.T)
    mirrored = frame.axes(-vectors)[0]
    signs = torch.tensor([-1.0, -1.0 if frame.handed else 1.0, -1.0], dtype=torch.float64)
    torch.testing.assert_close(mirrored, axes * signs[None, :, None])


def test_frames_are_differentiable_twice():
    for name, frame in FRAMES.items():
        if frame.atoms and name != "z_only":
            vectors = VECTORS[None, : frame.atoms].clone().requires_grad_()
            axes = frame.axes
            assert torch.autograd.gradgradcheck(lambda v, axes=axes: axes(v)[0], vectors), name


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("bisector", [[1, 0, 0], [-1, 0, 0]]),
        ("z_bisector", [[0, 0, 1], [1, 0, 0], [-1, 0, 0]]),
        ("z_bisector", [[0, 0, 1], [1, 1e-17, 0], [-1, 0, 0]]),
        ("three_fold", [[1, 0, 0], [-0.5, 0.75**0.5, 0], [-0.5, -(0.75**0.5), 0]]),
        ("z_then_x", [[1, 1, 0], [2, 2, 0]]),
    ],
)
def test_directions_that_cancel_are_no_frame(name, places):
    """Also where they cancel exactly, or what is left of them is rounding."""
    _, margin = FRAMES[name].axes(torch.tensor(places, dtype=torch.float64)[None])
    assert bool((margin < 1e-6).all())


def test_handedness_is_tinkers():
    """The last atom stands at negative y, where volumes of Tinker and OpenMM are positive."""
    vectors = VECTORS[None]
    y = FRAMES["z_then_x_handed"].axes(vectors)[0][0, 1]
    assert float(y @ VECTORS[2]) < 0


METHANOL = {
    "C": {"charge": 0.1, "dipole": [0, 0, 0.2], "frame": "z_only", "axes": ["O"]},
    "O": {"charge": -0.6, "dipole": [0.1, 0, 0.2], "frame": "bisector", "axes": ["C", "H"]},
    "H": {"charge": 0.0, "dipole": [0, 0, 0.1], "frame": "z_only", "axes": ["C"]},
    "H(O)": {"charge": 0.5, "dipole": [0.1, 0, 0.1], "frame": "z_then_x", "axes": ["O", "C(H,H,H,O)"]},
}


def test_kinds_with_bonds_go_before_elements():
    atoms = molecule("CH3OH")
    atoms.info.update(total_charge=0, multiplicity=1)
    found = moments_of(TabulatedMultipoles(METHANOL, (1, 6, 8)), [atoms])
    hydroxyl = int(np.argmin(np.linalg.norm(atoms.positions - atoms.positions[1], axis=1) + 9 * (atoms.numbers != 1)))
    expected = [0.5 if place == hydroxyl else {6: 0.1, 8: -0.6, 1: 0.0}[z] for place, z in enumerate(atoms.numbers)]
    assert found["charges"].tolist() == expected
    step = atoms.positions[hydroxyl] - atoms.positions[1]
    along = found["atomic_dipoles"][hydroxyl].numpy() @ -step / np.linalg.norm(step)
    assert along == pytest.approx(0.1)
    assert float(found["atomic_dipoles"][hydroxyl].norm()) == pytest.approx(0.1 * 2**0.5)


def test_bonds_may_be_written_in_any_order():
    atoms = molecule("CH3OH")
    atoms.info.update(total_charge=0, multiplicity=1)
    rows = {"C(O,H,H,H)" if name == "C" else name: row for name, row in METHANOL.items()}
    rows["H(O)"] = rows["H(O)"] | {"axes": ["O", "C(H,O, H,H)"]}
    found, expected = (moments_of(TabulatedMultipoles(table, (1, 6, 8)), [atoms]) for table in (rows, METHANOL))
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=0, atol=0)
    assert TabulatedMultipoles(rows, (1, 6, 8)).kinds[0][0].name == "C(H,H,H,O)"


@pytest.mark.parametrize("pair", [("C(H,H,H,O)", "C(O,H,H,H)"), ("H(O)", "H( O )"), ("O", " O")])
def test_one_kind_named_twice_is_refused(pair):
    with pytest.raises(ConfigError, match="are the same kind of atom") as caught:
        TabulatedMultipoles(METHANOL | dict.fromkeys(pair, {"charge": 0.1}), (1, 6, 8))
    assert all(f"'{name}'" in str(caught.value) for name in pair)


def changed(**settings):
    return TabulatedMultipoles({"O": SITES["O"] | settings, "H": SITES["H"]}, (1, 8))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"axes": ["H"]}, "takes 2 axes, not 1"),
        ({"frame": "z_bisector", "axes": ["H", "H", "O"]}, "tells its axes apart"),
        ({"axes": ["H", "Hx"]}, "no element 'Hx'"),
        ({"axes": ["H", "h-h"]}, "no kind of atom"),
        ({"frame": "bisecter"}, "bisector"),
        ({"dipole": [0.1, 0.0, 0.0]}, "does not fix all of these moments"),
        ({"dipole": [0.0, 0.1, 0.0]}, "does not fix all of these moments"),
        ({"quadrupole": [0.1, 0.0, 0.1, 0.0, 0.0, 0.1]}, "trace 0.3"),
        ({"frame": "none", "axes": []}, "does not fix all of these moments"),
        ({"dipoles": [0.0, 0.0, 0.1]}, "is not a setting"),
    ],
)
def test_rows_that_cannot_be(settings, words):
    with pytest.raises(ConfigError, match=words):
        changed(**settings)


def test_atoms_that_cannot_be():
    linear = Atoms("OHH", [[0, 0, 0], [0, 0, 0.96], [0, 0, -0.96]], info={"total_charge": 0, "multiplicity": 1})
    for head in (TabulatedMultipoles(SITES, (1, 8)), GivenMultipoles(ATOMS)):
        with pytest.raises(
            ModelError, match="local frame of atom [01] .Z=[18]. of structure 1 of the batch is not defined"
        ):
            moments_of(head, [waters(1, [(0, 0, 0)]), linear])
    hydroxide = Atoms("OH", [[0, 0, 0], [0, 0, 0.96]], info={"total_charge": -1, "multiplicity": 1})
    with pytest.raises(ModelError, match=r"atom 0 of structure 0 .* is O\(H\), needs 2 atoms of the kind H, but 1"):
        moments_of(TabulatedMultipoles(SITES, (1, 8)), [hydroxide])
    with pytest.raises(ModelError, match=r"no row for atom 0 of structure 0 of the batch, which is O\(H,H\)"):
        moments_of(TabulatedMultipoles({"H": {"charge": 0.0}}, (1, 8)), [waters(1, [(0, 0, 0)])])


def test_forces_on_frames_by_finite_differences():
    """Beside another molecule, along every coordinate of a hydrogen."""
    config = {"heads": {"moments": TABULATED}, "terms": {"term": TERM}}
    potential = build_potential(config, TestTabulated().context(), torch.float64)
    atoms = waters(9, [(0, 0, 0), (2.7, 0, 0)])
    graph = graph_of([atoms], potential.neighbour_lists, torch.float64)
    forces = potential(graph)["forces"][1]
    for direction, step in enumerate(1e-4 * np.eye(3)):
        ends = [displaced(atoms, np.eye(6)[1][:, None] * sign * step) for sign in (1, -1)]
        energies = potential(graph_of(ends, potential.neighbour_lists, torch.float64))["energy"].detach()
        slope = float(energies[0] - energies[1]) / 2e-4
        assert float(forces[direction].detach()) == pytest.approx(-slope, rel=1e-5, abs=10 * FINITE_DIFFERENCE)
