"""The table of free atoms."""

from __future__ import annotations

import pytest
import torch
from ase.data import chemical_symbols

from eqff.dispersion.free_atoms import FREE_ATOMS, FreeAtoms
from eqff.units import BOHR, HARTREE


def test_elements_up_to_radon_without_lanthanides():
    assert set(FREE_ATOMS) == set(range(1, 87)) - set(range(57, 72))


def test_known_values():
    """Hydrogen's are exact: 4.5 bohr³ and 6.5 hartree bohr⁶."""
    polarizability, c6, radius = FREE_ATOMS[1]
    assert polarizability == pytest.approx(4.5 * BOHR**3)
    assert c6 == pytest.approx(6.5 * HARTREE * BOHR**6)
    assert radius == pytest.approx(3.1 * BOHR)


def test_against_a_second_table():
    """Those of Chu and Dalgarno, and of Ruiz et al., that ASE has; Te differs by 11 %, others by 6 %."""
    from ase.calculators.vdwcorrection import vdWDB_alphaC6

    compared = 0
    for number, (polarizability, c6, _) in FREE_ATOMS.items():
        if chemical_symbols[number] in vdWDB_alphaC6:
            alpha, second = vdWDB_alphaC6[chemical_symbols[number]]
            assert polarizability == pytest.approx(alpha * BOHR**3, rel=0.07), chemical_symbols[number]
            assert c6 == pytest.approx(second * HARTREE * BOHR**6, rel=0.12), chemical_symbols[number]
            compared += 1
    assert compared == 40


def test_excitation_energies_are_those_of_atoms():
    """ω = 4/3 C6/alpha² is of the size of ionization energies: a misplaced digit would show."""
    numbers = torch.tensor(sorted(FREE_ATOMS))
    frequency = FreeAtoms(tuple(numbers.tolist()))(numbers).frequency
    assert float(frequency.min()) > 1.0 and float(frequency.max()) < 33.0


def test_table_stays_in_double_precision():
    free = FreeAtoms((1, 8)).to(torch.float32)
    assert free(torch.tensor([8])).c6.dtype == torch.float64
