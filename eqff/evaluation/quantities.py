"""How fields are shown to people: the units in which errors are commonly given, and per atom where that is meant."""

from __future__ import annotations

from dataclasses import dataclass

from ase.units import GPa

from eqff.data import fields as table


@dataclass(frozen=True)
class Quantity:
    """A field as a column of a table of errors.

    Attributes:
        name: Of the quantity; also the stem of metric names (``forces_mae``).
        field: Of which it is made.
        unit: In which it is shown.
        factor: From the field's unit to this one.
        per_atom: Whether it is divided by the number of atoms.
    """

    name: str
    field: str
    unit: str
    factor: float = 1.0
    per_atom: bool = False


_SHOWN = (
    Quantity("energy", "energy", "meV", 1000.0),
    Quantity("energy_per_atom", "energy", "meV/atom", 1000.0, per_atom=True),
    Quantity("forces", "forces", "meV/Å", 1000.0),
    Quantity("stress", "stress", "GPa", 1.0 / GPa),
    Quantity("virial_per_atom", "virial", "meV/atom", 1000.0, per_atom=True),
    Quantity("charges", "charges", "me", 1000.0),
    Quantity("spin_charges", "spin_charges", "10⁻³", 1000.0),
    Quantity("dipole", "dipole", "me·Å", 1000.0),
    Quantity("quadrupole", "quadrupole", "me·Å²", 1000.0),
)


def quantities(field: str) -> tuple[Quantity, ...]:
    """The quantities that are shown for a field: those of the table, else the field in its own unit.

    Raises:
        ConfigError: There is no such field.
    """
    row = table.field(field)
    return tuple(q for q in _SHOWN if q.field == field) or (Quantity(field, field, row.unit),)
