"""Tkatchenko and Scheffler's dispersion: the battery, pairs, and lattice sums held against long direct ones."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from ase import Atoms

from eqff.derivatives import differentiate
from eqff.errors import ConfigError, ModelError
from eqff.potential import Potential
from eqff.terms.tkatchenko_scheffler import TkatchenkoScheffler
from eqff.testing.battery import MINIMAL_BACKBONE, TermBattery
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, slab, wire

TARGET = "eqff.terms.tkatchenko_scheffler.TkatchenkoScheffler"
SMALL = {"_target_": TARGET, "sr": 0.94, "cutoff": 9.0, "accuracy": 1e-12}


class TestFreeAtoms(TermBattery):
    term = SMALL
    fragment_tolerance = 1e-7  # forces of the tail, 6 C6/r⁷, some 1e-10 eV/Å

    def fragment_interaction(self, first: Atoms, second: Atoms) -> float:
        """Every pair far away: -C6/r⁶, undamped."""
        atoms = self.potential().terms["term"].free_atoms
        a, b = (atoms(torch.as_tensor(part.numbers)) for part in (first, second))
        lengths = torch.as_tensor(np.linalg.norm(first.positions[:, None] - second.positions[None], axis=-1))
        c6 = (
            2
            * a.c6[:, None]
            * b.c6
            / (
                b.polarizability / a.polarizability[:, None] * a.c6[:, None]
                + a.polarizability[:, None] / b.polarizability * b.c6
            )
        )
        return -float((c6 / lengths**6).sum())


class TestPredictedVolumes(TermBattery):
    """Volumes that follow the geometry: forces and strain go through C6 and the radii."""

    backbone = MINIMAL_BACKBONE
    heads = {"volumes": {"_target_": "eqff.heads.volume_ratios.VolumeRatios", "hidden": 4}}
    term = {**SMALL, "volume_ratios": "volume_ratios"}
    fragment_tolerance = 1e-6  # C6 of the tail are not those of free atoms


def predicted(atoms: Atoms, **settings) -> dict[str, torch.Tensor]:
    elements = tuple(sorted(set(atoms.numbers.tolist())))
    term = TkatchenkoScheffler(0.94, elements, **settings)
    potential = Potential(None, {"ts": term}, elements=elements).double().eval()
    graph = graph_of([atoms], potential.neighbour_lists, torch.float64, classical=True)
    return differentiate(potential.energy, graph, stress=True)


@pytest.mark.parametrize("atoms", [wire(2), slab(3), crystal(4)], ids=["wire", "slab", "crystal"])
def test_lattice_sums_do_not_depend_on_their_splitting(atoms: Atoms):
    """Neighbours and waves share the sum in another way for every cutoff, and give the same."""
    first, second = (predicted(atoms, cutoff=cutoff, accuracy=1e-13) for cutoff in (8.0, 11.0))
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("atoms", [wire(2), slab(3)], ids=["wire", "slab"])
def test_partly_periodic_sums_are_those_of_long_pieces(atoms: Atoms):
    """The middle of many copies without periodicity has the energy of a cell, up to a tail of R⁻⁵ or R⁻⁴."""
    repeats = [7 if periodic else 0 for periodic in atoms.pbc]
    numbers = torch.as_tensor(atoms.numbers)
    data = TkatchenkoScheffler(0.94, tuple(set(numbers.tolist()))).free_atoms(numbers)
    total = 0.0
    ranges = [range(-r, r + 1) for r in repeats]
    for shift in np.array(np.meshgrid(*ranges)).reshape(3, -1).T:
        vectors = atoms.positions[None] + shift @ np.asarray(atoms.cell) - atoms.positions[:, None]
        r = torch.as_tensor(np.linalg.norm(vectors, axis=-1)) + torch.eye(len(atoms)) * (1e9 if not shift.any() else 0)
        a, c, radius = data.polarizability, data.c6, data.radius
        c6 = 2 * c[:, None] * c / (a / a[:, None] * c[:, None] + a[:, None] / a * c)
        damping = 1 / (1 + torch.exp(-20 * (r / (0.94 * (radius[:, None] + radius)) - 1)))
        total -= 0.5 * float((c6 * damping / r**6).sum())
    assert float(predicted(atoms)["energy"]) == pytest.approx(total, rel=2e-4)


def test_argon_dimer_from_afar():
    """-C6/r⁶ with the C6 of free argon, 64.3 hartree bohr⁶."""
    atoms = Atoms("Ar2", [[0, 0, 0], [0, 0, 12.0]])
    expected = -64.3 * 27.211386245988 * 0.529177210903**6 / 12.0**6
    assert float(predicted(atoms)["energy"]) == pytest.approx(expected, rel=1e-12)


def test_elements_without_data_are_named():
    with pytest.raises(ConfigError, match="no free-atom data for La"):
        TkatchenkoScheffler(0.94, (8, 57))
    TkatchenkoScheffler(0.94, (8, 57), free_atoms={"La": (31.7, 2314.0, 2.5)})
    with pytest.raises(ConfigError, match="three positive numbers"):
        TkatchenkoScheffler(0.94, (8,), free_atoms={"O": (0.8, -1.0, 1.6)})
    with pytest.raises(ConfigError, match="no element 'Xx'"):
        TkatchenkoScheffler(0.94, (8,), free_atoms={"Xx": (1.0, 1.0, 1.0)})


def test_volumes_that_are_not_positive_are_named():
    free = TkatchenkoScheffler(0.94, (8,)).free_atoms
    with pytest.raises(ModelError, match="volume ratio of atom 1 of the batch is 0"):
        free(torch.tensor([8, 8]), torch.tensor([1.0, 0.0]))


def test_scaling_by_volumes():
    """C6 = v² C6, alpha = v alpha, R = v^(1/3) R."""
    free = TkatchenkoScheffler(0.94, (8,)).free_atoms
    one, half = free(torch.tensor([8])), free(torch.tensor([8]), torch.tensor([0.5]))
    assert float(half.c6 / one.c6) == pytest.approx(0.25)
    assert float(half.polarizability / one.polarizability) == pytest.approx(0.5)
    assert float(half.radius / one.radius) == pytest.approx(0.5 ** (1 / 3))


def test_damping_beyond_the_neighbours_is_refused():
    """It would be cut off where it still counts; with the cutoff that is asked for nothing is missing."""
    atoms = crystal(4)
    with pytest.raises(ModelError, match=r"Damping of Tkatchenko.* Raise cutoff to \d+ Å") as refused:
        predicted(atoms, cutoff=4.0)
    asked = float(re.search(r"cutoff to (\d+)", str(refused.value))[1])
    enough, plenty = (predicted(atoms, cutoff=cutoff, accuracy=1e-10) for cutoff in (asked, 12.0))
    torch.testing.assert_close(enough["forces"], plenty["forces"], rtol=0, atol=1e-5)
