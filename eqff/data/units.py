"""Units of files: a small parser of unit expressions, with a check of dimensions."""

from __future__ import annotations

import re
from functools import lru_cache

from ase.units import create_units

from eqff.errors import ConfigError, did_you_mean

Dimension = tuple[int, int, int]
"""Powers of energy, length and charge."""

_CODATA = create_units("2018")
_ENERGY, _LENGTH, _CHARGE, _PRESSURE, _NUMBER = (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, -3, 0), (0, 0, 0)
_TABLE: dict[str, tuple[float, Dimension]] = {
    "ev": (1.0, _ENERGY),
    "mev": (1e-3, _ENERGY),
    "hartree": (_CODATA["Hartree"], _ENERGY),
    "ha": (_CODATA["Hartree"], _ENERGY),
    "eh": (_CODATA["Hartree"], _ENERGY),
    "ry": (_CODATA["Rydberg"], _ENERGY),
    "kcal": (_CODATA["kcal"], _ENERGY),
    "kj": (_CODATA["kJ"], _ENERGY),
    "mol": (_CODATA["mol"], _NUMBER),
    "å": (1.0, _LENGTH),
    "a": (1.0, _LENGTH),
    "ang": (1.0, _LENGTH),
    "angstrom": (1.0, _LENGTH),
    "bohr": (_CODATA["Bohr"], _LENGTH),
    "a0": (_CODATA["Bohr"], _LENGTH),
    "nm": (10.0, _LENGTH),
    "pm": (0.01, _LENGTH),
    "e": (1.0, _CHARGE),
    "v": (1.0, (1, 0, -1)),
    "debye": (_CODATA["Debye"], (0, 1, 1)),
    "d": (_CODATA["Debye"], (0, 1, 1)),
    "gpa": (_CODATA["GPa"], _PRESSURE),
    "kbar": (0.1 * _CODATA["GPa"], _PRESSURE),
    "bar": (1e-4 * _CODATA["GPa"], _PRESSURE),
    "1": (1.0, _NUMBER),
}
_TOKEN = re.compile(r"\s*([*/·]?)\s*(a0|[A-Za-zÅ]+|1)(?:(?:\^|\*\*)?(-?\d+))?\s*")


def typed(unit: str) -> str:
    """A unit in letters that any keyboard and Hydra's command line take: Å as Ang, ² as 2."""
    return unit.replace("Å", "Ang").replace("²", "2").replace("³", "3").replace("⁶", "6").replace("·", "*")


@lru_cache
def parse_unit(expression: str) -> tuple[float, Dimension]:
    """The value of a unit in eqff's units (Å, eV, e), and its dimension.

    Args:
        expression: For example ``"kcal/mol/Å"`` or ``"kcal/mol/Ang"``, ``"hartree/bohr"``, ``"e*bohr^2"``,
            ``"GPa"``. A leading minus turns the sign, so that gradients can be read as forces: ``"-hartree/bohr"``.

    Raises:
        ConfigError: A unit that is not in the table.
    """
    text = expression.strip().replace("²", "^2").replace("³", "^3").replace("⁶", "^6").replace("\u212b", "Å")
    factor, powers, position = (-1.0 if text.startswith("-") else 1.0), [0, 0, 0], int(text.startswith("-"))
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            rest = text[position:]
            raise ConfigError(f"Can't read the unit '{expression}' from '{rest}' on; write e.g. kcal/mol/Ang.")
        operator, name, power = match[1], match[2].lower(), int(match[3] or 1)
        if name not in _TABLE:
            raise ConfigError(f"'{match[2]}' in the unit '{expression}' is unknown.{did_you_mean(name, _TABLE)}")
        power = -power if operator == "/" else power
        value, dimension = _TABLE[name]
        factor *= value**power
        powers = [old + power * new for old, new in zip(powers, dimension, strict=True)]
        position = match.end()
    if powers[0] and not 1e-15 < abs(factor) < 1e15:
        raise ConfigError(
            f"The unit '{expression}' is {abs(factor):.1e} of eqff's own: no energy of a structure has that size. "
            "kcal and kJ are meant per mole: write kcal/mol."
        )
    return factor, (powers[0], powers[1], powers[2])


def conversion(expression: str, target: str, what: str) -> float:
    """The number by which values in one unit are multiplied to be in another.

    Args:
        expression: Unit of the file.
        target: Unit of the fields table.
        what: Name of the quantity, for the message.

    Raises:
        ConfigError: The two measure different things.
    """
    try:
        factor, dimension = parse_unit(expression)
    except ConfigError as error:
        raise ConfigError(f"{what}: {error}") from error
    target_factor, target_dimension = parse_unit(target or "1")
    if dimension != target_dimension:
        own = target or "pure numbers"
        raise ConfigError(f"The unit '{expression}' can't be that of {what}, which eqff keeps in {own}.")
    return factor / target_factor
