"""Checks that the same matter described in another way has the same energy, and that nothing jumps at a cutoff."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import make_supercell

from eqff.potential import Potential
from eqff.testing.base import Battery, comparable
from eqff.testing.compare import assert_close, relative_error
from eqff.testing.graphs import graph_of
from eqff.testing.structures import closed_shell, crystal, joined, molecule
from eqff.testing.symmetry import DTYPES
from eqff.testing.tolerances import INVARIANCE, JUMP, PRECISION


class ConsistencyChecks(Battery):
    """Batches, supercells, far fragments, longer neighbour lists, precision, and cutoffs.

    Attributes:
        fragment_distance: Å, at which two molecules count as far apart.
        fragment_tolerance: Relative; how well their energies then add up with `fragment_interaction`.
        special_radii: Further distances in Å at which nothing may jump, for example where a switch begins.
        periodic_scan: Directions in which the structures that are scanned for jumps are periodic, beside open ones.
        scanned_elements: Elements that are scanned for jumps, each with each; all if None.
    """

    fragment_distance: float = 60.0
    fragment_tolerance: float = INVARIANCE[torch.float64]
    special_radii: tuple[float, ...] = ()
    periodic_scan: tuple[bool, bool, bool] = (True, True, True)
    scanned_elements: tuple[int, ...] | None = None

    def fragment_interaction(self, first: Atoms, second: Atoms) -> float:
        """The energy in eV that two far neutral fragments still share; zero unless a term has a long-range tail."""
        return 0.0

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    def test_batch_equals_singles(self, dtype: torch.dtype) -> None:
        """Molecules, wires, slabs and crystals in one batch, whatever their order."""
        potential, structures = self.potential(dtype), list(self.structures().values())[::-1]
        batch = self.predict(potential, structures, dtype)
        singles = [self.predict(potential, [atoms], dtype) for atoms in structures]
        for name, value, _ in comparable(batch):
            expected = torch.cat([single[name] for single in singles])
            assert_close(value, expected, INVARIANCE[dtype], name)

    def test_supercell(self) -> None:
        """Repeating a neutral cell repeats its energy, forces and atomic properties, and keeps its stress."""
        potential = self.potential()
        cell = closed_shell(crystal(31, elements=self.elements))
        matrix = np.array([[2, 0, 0], [0, 1, 0], [1, 0, 1]])  # two cells, one lattice vector oblique
        large = make_supercell(cell, matrix, wrap=False, order="cell-major")
        large.info.update(cell.info)
        one, two = self.predict(potential, [cell]), self.predict(potential, [large])
        assert_close(two["energy"], 2 * one["energy"], INVARIANCE[torch.float64], "energy")
        assert_close(two["stress"], one["stress"], INVARIANCE[torch.float64], "stress")
        for name, value, row in comparable(one):
            if row.level == "atom":
                assert_close(two[name], value.repeat(2, *[1] * (value.dim() - 1)), INVARIANCE[torch.float64], name)

    def test_far_fragments_add_up(self) -> None:
        """Two neutral molecules far apart have the sum of their energies, and their own forces."""
        potential = self.potential()
        first = closed_shell(molecule(32, 6, self.elements))
        second = closed_shell(molecule(33, 4, self.elements))
        both = joined(first, second, [self.fragment_distance, 3.0, -2.0])
        together, parts = self.predict(potential, [both]), self.predict(potential, [first, second])
        expected = parts["energy"].sum()[None] + self.fragment_interaction(first, both[len(first) :])
        assert_close(together["energy"], expected, self.fragment_tolerance, "energy")
        assert_close(together["forces"], parts["forces"], self.fragment_tolerance, "forces")

    def test_longer_neighbour_lists_change_nothing(self) -> None:
        """Every part is zero beyond its own cutoff, so a list may be longer (shared, or kept for some steps)."""
        potential, structures = self.potential(), list(self.structures().values())
        longer = {name: cutoff + 0.7 for name, cutoff in potential.neighbour_lists.items()}
        exact = self.predict(potential, structures)
        prediction = potential(graph_of(structures, longer, torch.float64), stress=True)
        for name, value, _ in comparable(exact):
            assert_close(prediction[name], value, INVARIANCE[torch.float64], name)

    def test_precision(self) -> None:
        """Energies are float64; the rest has the dtype of the weights and agrees between the two."""
        potential, structures = self.potential(), list(self.structures().values())
        single = copy.deepcopy(potential).to(torch.float32)
        exact = self.predict(potential, structures)
        rounded = self.predict(single, structures, torch.float32)
        assert rounded["energy"].dtype == torch.float64
        assert rounded["forces"].dtype == torch.float32 and exact["forces"].dtype == torch.float64
        for name, value, _ in comparable(exact):
            assert_close(rounded[name], value, PRECISION, name)

    def test_smooth_at_cutoffs(self) -> None:
        """Energy and forces are continuous as an atom crosses each cutoff of each part."""
        potential = self.potential()
        radii = {r for part in potential.ordered_parts().values() for r in part.neighbour_lists.values()}
        for radius in sorted((radii | set(self.special_radii)) - {float("inf")}):
            for pbc in ((False, False, False), self.periodic_scan):
                assert_no_jump(self, potential, radius, pbc)

    def test_predictions_carry_no_graph(self) -> None:
        """In evaluation nothing holds on to the computation, and training mode changes no number."""
        potential, structures = self.potential(), list(self.structures().values())
        evaluated = self.predict(potential, structures)
        assert not any(value.requires_grad for value in evaluated.values())
        trained = self.predict(potential.train(), structures)
        for name, value, _ in comparable(evaluated):
            assert_close(trained[name], value, INVARIANCE[torch.float64], name)


def assert_no_jump(battery: ConsistencyChecks, potential: Potential, radius: float, pbc: Sequence[bool]) -> None:
    """Fails where energy or forces jump while one atom's distance to another passes ``radius`` (Å).

    An atom moves away from one end of a dimer, so that only this one distance is near the radius. The jump over 2e-6 Å
    is compared with the variation over 0.1 Å on both sides. Images are further away than the radius.
    """
    elements = battery.scanned_elements or battery.elements
    offsets = (-1e-6, 1e-6, -0.1, -0.05, 0.05, 0.1)
    points = [_passing(elements, radius, offset, pbc) for offset in offsets]
    prediction = battery.predict(potential, [atoms for point in points for atoms in point])
    for name in ("energy", "forces"):
        inside, outside, *around = prediction[name].chunk(len(offsets))
        variation = max(float((other - inside).abs().max()) for other in around)
        size = max(1.0, float(inside.abs().max()))
        floor = INVARIANCE[torch.float64] * size / JUMP
        error = relative_error(outside - inside, torch.zeros_like(inside), max(variation, floor))
        assert error <= JUMP, f"{name} jumps at {radius:.3f} Å by {error:.1e} of its variation around it"


def _passing(elements: Sequence[int], radius: float, offset: float, pbc: Sequence[bool]) -> list[Atoms]:
    """For every two elements, an atom of one ``offset`` Å beyond ``radius`` from an atom of the other in a dimer."""
    structures = []
    for fixed, moving in combinations_with_replacement(elements, 2):
        positions = [[0, 0, 0], [-0.7, 0.6, 0.6], [radius + offset, 0, 0]]
        atoms = Atoms(numbers=[fixed, elements[0], moving], positions=positions, pbc=pbc)
        atoms.set_cell(np.diag([2 * radius + 2.9, radius + 2.3, radius + 2.1]) * atoms.pbc[:, None])
        atoms.info.update(total_charge=0, multiplicity=1 + int(atoms.numbers.sum()) % 2)
        structures.append(atoms)
    return structures
