"""The energy of a structure as a sum over its fragments, their pairs, triples and so on, of any calculator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from eqff.data.electrons import lowest_multiplicity
from eqff.errors import ConfigError, DataError
from eqff.fragments.bonded import bonded_fragments, stated_fragments
from eqff.interfaces.calculators import state_settings
from eqff.interfaces.given import Given, fragments_said

_WHOLE = 1e-3  # e, as of `eqff.fragments.states`
CHARGE = "fragment_charge"
"""The array of a structure that states the charge of each atom's fragment."""


@dataclass(frozen=True)
class Expansion:
    """A many-body expansion that ends at some order.

    Attributes:
        orders: E(≤1), E(≤2), ... in eV, up to the order asked for or the number of fragments.
        forces: Of the last of them, eV/Å, (N, 3).
    """

    orders: tuple[float, ...]
    forces: np.ndarray

    @property
    def energy(self) -> float:
        """Of the highest order, eV."""
        return self.orders[-1]


def many_body_expansion(atoms: Atoms, calculator: Any, order: int, fragments: np.ndarray | None = None) -> Expansion:
    """The energy up to ``order``-body terms of the fragments of a structure.

    With S_k the sum of the energies of all sets of k of its F fragments, each computed without the others [Richard and
    Herbert, J. Chem. Phys. 137, 064113 (2012)],

        E(≤n) = sum_(k=1)^n (-1)^(n-k) binom(F - k - 1, n - k) S_k,    E(≤n) = S_F for n >= F.

    An energy that is a sum of terms of up to n fragments is met exactly. Periodic structures keep their cell, so that
    images of a fragment belong to it. It takes all sets of up to n fragments: F (F + 1)/2 calculations for n = 2.

    Args:
        atoms: The structure. Charges of fragments are those of the array ``fragment_charge``, if there is one, else
            zero; their spins are the lowest that electrons allow.
        calculator: Any ASE calculator; it is told charge and multiplicity by its own settings and by ``atoms.info``.
        order: n, from 1.
        fragments: Number of each atom's fragment, (N,); the array ``fragment`` by default.

    Raises:
        ConfigError: An order below 1.
        DataError: No fragments, charges of them that don't add up to that of the structure, or a higher spin state.
    """
    if order < 1:
        raise ConfigError(f"order is {order}, but a sum over fragments begins with 1, the fragments themselves.")
    number = stated_fragments(atoms) if fragments is None else np.asarray(fragments)
    members = [np.flatnonzero(number == value) for value in np.unique(number)]
    charges = _charges(atoms, members)
    _require_lowest(atoms, sum(charges))
    energies, forces = [], []
    for size in range(1, min(order, len(members)) + 1):
        energy, force = 0.0, np.zeros((len(atoms), 3))
        for chosen in combinations(range(len(members)), size):
            index = np.sort(np.concatenate([members[k] for k in chosen]))
            found = _computed(_part(atoms, index, sum(charges[k] for k in chosen)), calculator)
            energy += found[0]
            force[index] += found[1]
        energies.append(energy)
        forces.append(force)
    factors = [_factors(n, len(members)) for n in range(1, len(energies) + 1)]
    sums = tuple(float(sum(f * e for f, e in zip(row, energies, strict=False))) for row in factors)
    return Expansion(sums, sum(f * force for f, force in zip(factors[-1], forces, strict=True)))


class ManyBodyExpansion(Calculator):
    """An ASE calculator of the energy up to n-body terms of another one; see `many_body_expansion`.

    As the base of a Δ-model, it leaves what is beyond n fragments to be learned.

    Args:
        calculator: An ASE calculator.
        order: n, from 1.
        source: "stated" for the array ``fragment`` of structures, "bonds" for sets of bonded atoms.
        stretch: Of bonds, see `eqff.fragments.bonded.bonded_fragments`.
        alone: Elements without bonds; see there.
    """

    implemented_properties = ["energy", "free_energy", "forces"]

    def __init__(
        self,
        calculator: Any,
        order: int = 2,
        source: Literal["stated", "bonds"] = "bonds",
        stretch: float = 1.25,
        alone: Sequence[str | int] = (),
    ):
        super().__init__()
        if source not in ("stated", "bonds"):
            raise ConfigError(f"source is '{source}'; it can be stated or bonds.")
        self.inner, self.order, self.source, self.stretch, self.alone = calculator, order, source, stretch, alone
        self._computed: tuple[Any, ...] | None = None

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What has changed since the last calculation, "fragments" for what ASE does not look at."""
        changes = list(super().check_state(atoms, tol))
        return changes if changes or _said(atoms) == self._computed else ["fragments"]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fills ``results``."""
        super().calculate(atoms, properties, system_changes)
        bonded = self.source == "bonds"
        number = bonded_fragments(self.atoms, self.stretch, self.alone) if bonded else stated_fragments(self.atoms)
        found = many_body_expansion(self.atoms, self.inner, self.order, number)
        self.results = {"energy": found.energy, "free_energy": found.energy, "forces": found.forces}
        self._computed = _said(self.atoms)


def _factors(order: int, count: int) -> list[int]:
    """Of S_1 to S_order in E(≤order) of ``count`` fragments."""
    return [1 if k == order else (-1) ** (order - k) * comb(count - k - 1, order - k) for k in range(1, order + 1)]


def _said(atoms: Atoms) -> tuple[Any, ...]:
    """What a structure says about its fragments, its charge and spin, and what it is surrounded by."""
    return (*Given(None, None, None).said(atoms.info), *fragments_said(atoms.arrays).items())


def _charges(atoms: Atoms, members: Sequence[np.ndarray]) -> list[int]:
    """Of each fragment in e; those of a structure that states its own have to add up to it."""
    stated = atoms.arrays.get(CHARGE, np.zeros(len(atoms)))
    charges = [round(float(np.mean(stated[index]))) for index in members]
    differ = [np.abs(stated[index] - charge).max() > _WHOLE for index, charge in zip(members, charges, strict=True)]
    if any(differ):
        raise DataError(
            f"{atoms.get_chemical_formula()}: atoms of a fragment have {stated[members[differ.index(True)]].tolist()} "
            f"in atoms.arrays['{CHARGE}'], but it is the charge of the fragment: one whole number for all of its atoms."
        )
    total = atoms.info.get("total_charge", atoms.info.get("charge", sum(charges)))
    if round(float(total)) != sum(charges):
        raise DataError(
            f"{atoms.get_chemical_formula()}: the charges of its fragments, {charges}, don't add up to its total "
            f"charge, {float(total):g}. State them on all atoms: atoms.arrays['{CHARGE}']."
        )
    return charges


def _require_lowest(atoms: Atoms, charge: int) -> None:
    """Raises DataError where a structure is in another spin state than all fragments together are computed in."""
    stated, formula = atoms.info.get("multiplicity", atoms.info.get("spin")), atoms.get_chemical_formula()
    lowest = lowest_multiplicity(atoms.numbers, charge, formula)
    if stated is not None and round(float(stated)) != lowest:
        raise DataError(
            f"{formula}: its multiplicity is {float(stated):g}, but sets of fragments are computed in their lowest "
            f"spin states, all of them together with {lowest}. Higher spin states are not treated."
        )


def _part(atoms: Atoms, index: np.ndarray, charge: int) -> Atoms:
    """Some fragments without the others, with their charge and spin."""
    part = atoms[index]
    part.set_constraint()
    multiplicity = lowest_multiplicity(part.numbers, charge, part.get_chemical_formula())
    part.info.update(charge=charge, total_charge=charge, spin=multiplicity, multiplicity=multiplicity)
    return part


def _computed(part: Atoms, calculator: Any) -> tuple[float, np.ndarray]:
    """Energy and forces of a part."""
    if hasattr(calculator, "reset"):
        calculator.reset()  # one that reads charges elsewhere than in its settings must not keep old results
    told = {setting: part.info[field] for field, setting in state_settings(calculator).items()}
    if told:
        calculator.set(**told)
    return float(calculator.get_property("energy", part)), np.asarray(calculator.get_property("forces", part))
