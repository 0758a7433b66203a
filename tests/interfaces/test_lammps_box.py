"""LAMMPS' boxes, units and wrapped positions, without LAMMPS: against ASE's own conversions."""

import numpy as np
import pytest
from ase.calculators.lammps import Prism
from ase.calculators.lammps import convert as ase_convert

from eqff.errors import ConfigError
from eqff.interfaces.lammps.box import Unwrapped, box_of
from eqff.interfaces.lammps.units import STYLES, units_of

TRICLINIC = np.array([[3.5, 0.2, 0.1], [-0.6, 3.7, 0.3], [0.4, 0.5, 3.9]])


def lammps_box(cell, low=(0.0, 0.0, 0.0), length=1.0):
    """As LAMMPS' extract_box returns it, and the cell turned into its frame."""
    prism = Prism(cell, pbc=True)
    xhi, yhi, zhi, xy, xz, yz = prism.get_lammps_prism()
    low = np.array(low)
    return (low, low + [xhi, yhi, zhi], xy, yz, xz, (1, 1, 1)), prism


@pytest.mark.parametrize("cell", [np.diag([3.0, 4.0, 5.0]), TRICLINIC], ids=["orthogonal", "triclinic"])
def test_the_cell_is_the_one_of_ase(cell):
    found, prism = lammps_box(cell, low=(-1.0, 2.0, 0.5))
    box = box_of(*found)
    np.testing.assert_allclose(box.cell, prism.vector_to_lammps(cell), atol=1e-12)
    np.testing.assert_allclose(box.origin, [-1.0, 2.0, 0.5])
    assert box.pbc.all()


def test_open_directions_have_no_origin_and_other_units_are_converted():
    box = box_of([1.0, 1.0, 1.0], [3.0, 4.0, 5.0], 0.0, 0.0, 0.0, (1, 0, 1), length=0.5)
    np.testing.assert_allclose(box.origin, [0.5, 0.0, 0.5])
    np.testing.assert_allclose(box.cell, np.diag([1.0, 1.5, 2.0]))
    assert box.pbc.tolist() == [True, False, True]


@pytest.mark.parametrize("style", list(STYLES))
def test_units_are_those_of_ase(style):
    units = units_of(style)  # ASE converts by CODATA 2014, which differs in the eighth digit
    assert units.energy == pytest.approx(ase_convert(1.0, "energy", style, "ASE"), rel=3e-8)
    assert units.length == pytest.approx(ase_convert(1.0, "distance", style, "ASE"), rel=3e-8)
    assert units.force == pytest.approx(ase_convert(1.0, "force", style, "ASE"), rel=3e-8)


def test_units_without_a_meaning_are_refused():
    with pytest.raises(ConfigError, match="units lj"):
        units_of("lj")


@pytest.mark.parametrize("pbc", [(1, 1, 1), (1, 1, 0)])
def test_wrapping_is_undone(pbc):
    """Atoms that walk several cells far under a barostat, wrapped at every step, move as they did."""
    rng = np.random.default_rng(0)
    prism = lammps_box(TRICLINIC)[1].get_lammps_prism()
    tilts = prism[3:] if all(pbc) else (prism[3], 0.0, 0.0)
    walk, unwrapped, tags = rng.random((5, 3)) @ TRICLINIC, Unwrapped(), np.arange(5)
    drift = rng.standard_normal((5, 3)) * 0.4
    previous = None
    for step in range(40):
        scale = 1 + 0.002 * step
        low = rng.uniform(-1, 1, 3) * np.array(pbc)  # barostats move the corner too
        box = box_of(low, low + np.array(prism[:3]) * scale, *(scale * t for t in (tilts[0], tilts[2], tilts[1])), pbc)
        walk = walk * (scale / (1 + 0.002 * max(step - 1, 0))) + drift
        fractions = walk @ np.linalg.inv(box.cell)
        wrapped = np.where(box.pbc, fractions % 1.0, fractions) @ box.cell + box.origin
        found = unwrapped(tags, wrapped, box)
        lattice = (found - walk) @ np.linalg.inv(box.cell)
        np.testing.assert_allclose(lattice, np.round(lattice), atol=1e-9)
        if previous is not None:
            np.testing.assert_array_equal(np.round(lattice), np.round(previous))
        previous = lattice


def test_other_atoms_begin_anew():
    box = box_of([0, 0, 0], [4, 4, 4], 0, 0, 0, (1, 1, 1))
    unwrapped = Unwrapped()
    unwrapped(np.array([1]), np.array([[3.9, 0.0, 0.0]]), box)
    assert unwrapped(np.array([1]), np.array([[0.1, 0.0, 0.0]]), box)[0, 0] == pytest.approx(4.1)
    assert unwrapped(np.array([2]), np.array([[0.1, 0.0, 0.0]]), box)[0, 0] == pytest.approx(0.1)
