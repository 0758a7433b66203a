"""The unit styles of LAMMPS in which atoms have energies in the first place."""

from __future__ import annotations

from dataclasses import dataclass

from eqff.data.units import parse_unit
from eqff.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Units:
    """What LAMMPS' numbers are in eqff's units.

    Attributes:
        energy: eV.
        length: Å.
    """

    energy: float
    length: float

    @property
    def force(self) -> float:
        """eV/Å."""
        return self.energy / self.length


def _units(energy: str, length: str) -> Units:
    return Units(parse_unit(energy)[0], parse_unit(length)[0])


STYLES = {
    "metal": _units("eV", "Ang"),
    "real": _units("kcal/mol", "Ang"),
    "electron": _units("hartree", "bohr"),
}
"""By the name that LAMMPS' command ``units`` takes.

LAMMPS' own constants, for kinetic energies and pressures, are other roundings of CODATA's: they agree to about 1e-7.
"""


def units_of(style: str) -> Units:
    """The units of a style.

    Raises:
        ConfigError: It has none that energies of atoms can be converted to, as ``lj``.
    """
    if style not in STYLES:
        raise ConfigError(
            f"LAMMPS computes in 'units {style}', for which eqff has no conversion.{did_you_mean(style, STYLES)} Say "
            "for example 'units metal' before the box is made."
        )
    return STYLES[style]
