"""Checks of invariance and equivariance: turning, moving, wrapping and permuting change nothing but what they must."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from eqff.testing.base import Battery, comparable
from eqff.testing.compare import assert_close
from eqff.testing.frames import random_orthogonal, turn_field
from eqff.testing.structures import displaced, transformed
from eqff.testing.tolerances import INVARIANCE

# what holds in double precision holds in single precision if the two agree, which test_precision checks every time
DTYPES = [torch.float64, pytest.param(torch.float32, marks=pytest.mark.slow)]

TURNS = [(False, torch.float64), (True, torch.float64), pytest.param(False, torch.float32, marks=pytest.mark.slow)]
TURN_NAMES = ["rotation", "reflection", "rotation-float32"]
"""How frames are turned, and in which precision."""


def moved_dipole(prediction: Mapping[str, Tensor], shift: Tensor, total_charge: Tensor) -> Tensor:
    """The dipole (B, 3) after every position moved by ``shift``: the total charge comes along."""
    return prediction["dipole"] + total_charge[:, None] * shift


def moved_quadrupole(prediction: Mapping[str, Tensor], shift: Tensor, total_charge: Tensor) -> Tensor:
    """The traceless quadrupole 1/2 sum q (3 r r - r²), (B, 3, 3), after every position moved by ``shift``."""
    dipole, identity = prediction["dipole"], torch.eye(3, dtype=shift.dtype)
    mixed = dipole[:, :, None] * shift + shift[:, None] * dipole[:, None, :]
    trace = (dipole @ shift)[:, None, None] * identity
    own = 3 * shift[:, None] * shift - shift.square().sum() * identity
    return prediction["quadrupole"] + 1.5 * mixed - trace + 0.5 * total_charge[:, None, None] * own


ORIGIN_DEPENDENT: dict[str, Callable[[Mapping[str, Tensor], Tensor, Tensor], Tensor]] = {
    "dipole": moved_dipole,
    "quadrupole": moved_quadrupole,
}
"""Fields that change with the origin, and how. In a periodic structure they also change when an atom is wrapped."""


class SymmetryChecks(Battery):
    """Every label, and the energy of every term, behaves under changes of frame as the fields table says.

    Attributes:
        origin_dependent: Fields that change with the origin, and how.
    """

    origin_dependent: Mapping[str, Callable[[Mapping[str, Tensor], Tensor, Tensor], Tensor]] = ORIGIN_DEPENDENT

    @pytest.mark.parametrize(("reflect", "dtype"), TURNS, ids=TURN_NAMES)
    def test_turns_with_the_frame(self, reflect: bool, dtype: torch.dtype) -> None:
        """Rotations and reflections turn every field by its irreps."""
        potential, structures = self.potential(dtype), list(self.structures().values())
        matrix = random_orthogonal(11, reflect=reflect)
        before = self.predict(potential, structures, dtype)
        after = self.predict(potential, [transformed(atoms, matrix) for atoms in structures], dtype)
        for name, value, row in comparable(before):
            assert_close(after[name], turn_field(value, row, matrix), INVARIANCE[dtype], name)

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    def test_independent_of_the_origin(self, dtype: torch.dtype) -> None:
        """A translation changes only what depends on the origin, by the total charge."""
        potential, structures = self.potential(dtype), list(self.structures().values())
        # in float32 the coordinates themselves lose digits far from the origin
        shift = np.array([0.3, -0.7, 0.5]) * (20.0 if dtype == torch.float64 else 1.0)
        before = self.predict(potential, structures, dtype)
        after = self.predict(potential, [displaced(atoms, shift) for atoms in structures], dtype)
        charge = torch.tensor([atoms.info["total_charge"] for atoms in structures], dtype=dtype)
        for name, value, _ in comparable(before):
            rule = self.origin_dependent.get(name)
            expected = rule(before, torch.as_tensor(shift, dtype=dtype), charge) if rule else value
            assert_close(after[name], expected, INVARIANCE[dtype], name)

    def test_wrapped_atoms(self) -> None:
        """Which image of an atom is given does not matter."""
        potential = self.potential()
        structures = [atoms for atoms in self.structures().values() if atoms.pbc.any()]
        rng, wrapped = np.random.default_rng(12), []
        for atoms in structures:
            images = rng.integers(-2, 3, (len(atoms), 3)) * atoms.pbc
            wrapped.append(displaced(atoms, images @ np.asarray(atoms.cell)))
        before, after = self.predict(potential, structures), self.predict(potential, wrapped)
        for name, value, _ in comparable(before):
            if name not in ORIGIN_DEPENDENT:
                assert_close(after[name], value, INVARIANCE[torch.float64], name)

    def test_permutation(self) -> None:
        """The order of atoms does not matter."""
        potential, structures = self.potential(), list(self.structures().values())
        rng = np.random.default_rng(13)
        orders = [rng.permutation(len(atoms)) for atoms in structures]
        before = self.predict(potential, structures)
        after = self.predict(potential, [atoms[order] for atoms, order in zip(structures, orders, strict=True)])
        starts = np.cumsum([0] + [len(atoms) for atoms in structures])[:-1]
        order = torch.as_tensor(np.concatenate([start + order for start, order in zip(starts, orders, strict=True)]))
        for name, value, row in comparable(before):
            expected = value[order] if row.level == "atom" else value
            assert_close(after[name], expected, INVARIANCE[torch.float64], name)

    def test_no_net_force_or_torque(self) -> None:
        """Forces add up to nothing, and without periodicity torques too."""
        structures = self.structures()
        sizes = [len(atoms) for atoms in structures.values()]
        every = self.predict(self.potential(), list(structures.values()))["forces"].split(sizes)
        for (name, atoms), forces in zip(structures.items(), every, strict=True):
            scale = forces.abs().sum().clamp(min=1.0)
            assert_close(forces.sum(0) / scale, torch.zeros(3), INVARIANCE[torch.float64], f"net force, {name}", 1.0)
            if not atoms.pbc.any():
                torque = torch.linalg.cross(torch.as_tensor(atoms.positions), forces).sum(0)
                assert_close(torque / scale, torch.zeros(3), INVARIANCE[torch.float64], f"torque, {name}", 1.0)
