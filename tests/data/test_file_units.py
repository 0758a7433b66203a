"""Unit expressions."""

import pytest

from eqff.data import fields as table
from eqff.data.units import conversion, parse_unit, typed
from eqff.errors import ConfigError

# CODATA 2018
HARTREE, BOHR = 27.211386245988, 0.529177210903


@pytest.mark.parametrize(
    ("expression", "target", "factor"),
    [
        ("kcal/mol", "eV", 0.0433641042),
        ("kJ/mol", "eV", 0.0103642697),
        ("Hartree", "eV", HARTREE),
        ("hartree/bohr", "eV/Å", HARTREE / BOHR),
        ("-Ha/a0", "eV/Å", -HARTREE / BOHR),
        ("kcal mol^-1 Ang^-1", "eV/Å", 0.0433641042),
        ("meV/Å", "eV/Å", 1e-3),
        ("GPa", "eV/Å³", 1 / 160.21766208),
        ("kbar", "eV/Å³", 1 / 1602.1766208),
        ("Debye", "e·Å", 0.20819433),
        ("e*bohr", "e·Å", BOHR),
        ("e·a0²", "e·Å²", BOHR**2),
        ("bohr^3", "Å³", BOHR**3),
        ("nm", "Å", 10.0),
    ],
)
def test_values(expression, target, factor):
    assert conversion(expression, target, "x") == pytest.approx(factor, rel=1e-7)


def test_every_unit_of_the_fields_table_is_eqffs_own():
    for name in table.FIELDS:
        assert parse_unit(table.field(name).unit or "1")[0] == 1.0


@pytest.mark.parametrize("unit", sorted({row.unit for row in table.FIELDS.values()}))
def test_units_can_be_typed_on_any_keyboard(unit):
    assert typed(unit).isascii()
    assert parse_unit(typed(unit) or "1") == parse_unit(unit or "1")


@pytest.mark.parametrize("unit", ["kcal", "kJ/Ang", "kcal*mol"])
def test_energies_without_their_mole_are_refused(unit):
    with pytest.raises(ConfigError, match="write kcal/mol"):
        parse_unit(unit)


def test_wrong_dimension_is_refused():
    with pytest.raises(ConfigError, match="'kcal/mol' can't be that of 'forces', which eqff keeps in eV/Å"):
        conversion("kcal/mol", "eV/Å", "'forces'")


def test_unknown_unit_suggests():
    with pytest.raises(ConfigError, match="'hartee'.*Did you mean 'hartree'"):
        parse_unit("hartee/bohr")


@pytest.mark.parametrize("expression", ["eV/", "eV//Å", "3 eV", "eV+Å"])
def test_nonsense_is_refused(expression):
    with pytest.raises(ConfigError):
        parse_unit(expression)
