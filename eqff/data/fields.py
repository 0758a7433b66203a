"""The one table of fields: name, level, shape, unit and meaning of all that readers, parts and outputs share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from eqff.errors import ConfigError, did_you_mean

Level = Literal["atom", "edge", "structure", "external"]


@dataclass(frozen=True)
class Field:
    """One named quantity.

    Attributes:
        name: The key under which every part of eqff knows it.
        level: Per atom (N, ...), per edge (E, ...), per structure (B, ...) or per external charge (M, ...).
        shape: Trailing shape for one atom, edge or structure; None where it depends on the model.
        irreps: How it turns with the frame, in e3nn's notation; Cartesian components are stored in x, y, z order.
        unit: Unit of the stored numbers; empty for pure numbers.
        meaning: One line for people.
        role: "input" describes a structure, "label" can be predicted and trained on, "internal" lives inside a model.
        integer: Whether values are whole numbers (stored as int64).
        default: Of an input that a structure need not state: what each of its numbers then is. None where it must.
    """

    name: str
    level: Level
    shape: tuple[int, ...] | None
    irreps: str
    unit: str
    meaning: str
    role: Literal["input", "label", "internal"] = "label"
    integer: bool = False
    default: float | None = None


_TABLE = (
    # what a structure is
    Field("numbers", "atom", (), "0e", "", "atomic number Z", "input", True),
    Field("positions", "atom", (3,), "1o", "Å", "Cartesian position", "input"),
    Field("cell", "structure", (3, 3), "3x1o", "Å", "lattice vectors as rows; zero rows where not periodic", "input"),
    Field("pbc", "structure", (3,), "3x0e", "", "whether each lattice vector is periodic", "input", True),
    Field("total_charge", "structure", (), "0e", "e", "total charge Q", "input"),
    Field("multiplicity", "structure", (), "0e", "", "spin multiplicity 2S+1", "input"),
    Field("electric_field", "structure", (3,), "1o", "V/Å", "uniform external electric field", "input", default=0.0),
    Field("fragment", "atom", (), "0e", "", "number of the atom's fragment, from 0; -1 for none", "input", True, -1.0),
    Field("fragment_charge", "atom", (), "0e", "e", "total charge of the atom's fragment", "input", default=0.0),
    # point charges around it, of any number: those of another region that is not modelled
    Field("external_positions", "external", (3,), "1o", "Å", "position of an external charge", "input", default=0.0),
    Field("external_charges", "external", (), "0e", "e", "external charge", "input", default=0.0),
    Field("external_widths", "external", (), "0e", "Å", "w of density exp(-r²/w²); 0: a point", "input", default=0.0),
    # what a model can be trained on and asked for
    Field("energy", "structure", (), "0e", "eV", "potential energy"),
    Field("forces", "atom", (3,), "1o", "eV/Å", "minus the gradient of the energy with respect to positions"),
    Field("stress", "structure", (3, 3), "0e+2e", "eV/Å³", "(1/V) dE/dstrain, positive under tension (ASE's sign)"),
    Field("virial", "structure", (3, 3), "0e+2e", "eV", "minus dE/dstrain; defined without a cell too"),
    Field("charges", "atom", (), "0e", "e", "partial charge"),
    Field("spin_charges", "atom", (), "0e", "1", "spin density on the atom, alpha excess positive"),
    Field("volume_ratios", "atom", (), "0e", "", "Hirshfeld volume of the atom by that of the free atom"),
    Field("atomic_dipoles", "atom", (3,), "1o", "e·Å", "permanent dipole of the atom, beside its charge"),
    Field("atomic_quadrupoles", "atom", (3, 3), "2e", "e·Å²", "traceless quadrupole of the atom (Buckingham)"),
    Field("induced_dipoles", "atom", (3,), "1o", "e·Å", "dipole induced on the atom by all others and external fields"),
    Field("atomic_polarizabilities", "atom", (3, 3), "0e+2e", "Å³", "dipole polarizability of the atom, symmetric"),
    Field("c6_coefficients", "atom", (), "0e", "eV·Å⁶", "dispersion coefficient C6 of the atom with its own kind"),
    Field("born_charges", "atom", (3, 3), "0e+1e+2e", "e", "Born effective charge [a, b] = d dipole_b / d position_a"),
    Field("wannier_displacements", "atom", (3,), "1o", "Å", "Wannier centroid of the atom minus its position"),
    Field("dipole", "structure", (3,), "1o", "e·Å", "dipole moment; for ions about the origin of the coordinates"),
    Field("quadrupole", "structure", (3, 3), "2e", "e·Å²", "traceless quadrupole 1/2 sum q (3 r r - r²)"),
    Field("polarizability", "structure", (3, 3), "0e+2e", "Å³", "dipole polarizability"),
    # parts of interaction energies, by symmetry-adapted perturbation theory
    Field("sapt_elst", "structure", (), "0e", "eV", "electrostatics between fragments"),
    Field("sapt_exch", "structure", (), "0e", "eV", "exchange repulsion between fragments"),
    Field("sapt_ind", "structure", (), "0e", "eV", "induction between fragments, with delta HF where that is meant"),
    Field("sapt_disp", "structure", (), "0e", "eV", "dispersion between fragments"),
    # how far a prediction can be trusted
    Field("energy_uncertainty", "structure", (), "0e", "eV", "standard deviation of the energy's error", "internal"),
    Field("forces_uncertainty", "atom", (), "0e", "eV/Å", "standard deviation of a component's error", "internal"),
    # what a structure does to the charges around it
    Field("external_forces", "external", (3,), "1o", "eV/Å", "force on an external charge", "internal"),
    Field("potential_at_external", "external", (), "0e", "V", "potential at an external charge: dE/dq", "internal"),
    # what lives between a model's parts
    Field("features", "atom", None, "", "", "features (N, (degree+1)², channels) after the last pass", "internal"),
    Field("pass_scalars", "atom", None, "", "", "scalar features after each pass (N, passes, channels)", "internal"),
)

PER_PASS = "pass_"
"""Before the name of a field that an exchange writes: its values after every pass, stacked along dimension 1."""

FIELDS: dict[str, Field] = {field.name: field for field in _TABLE}


def field(name: str) -> Field:
    """The table's row for a name.

    Raises:
        ConfigError: The name is not in the table; the message suggests the nearest one.
    """
    if name in FIELDS:
        return FIELDS[name]
    raise ConfigError(f"There is no field '{name}'.{did_you_mean(name, FIELDS)}")


def optional_inputs() -> tuple[str, ...]:
    """Names of the inputs that a structure need not state, because they have a default."""
    return tuple(row.name for row in FIELDS.values() if row.role == "input" and row.default is not None)


def names(role: str) -> tuple[str, ...]:
    """All field names with the given role ("input", "label" or "internal")."""
    return tuple(row.name for row in FIELDS.values() if row.role == role)


def declare(row: Field) -> Field:
    """Adds a field for a new part, so that readers, losses, metrics and outputs know it from there on.

    Raises:
        ConfigError: The name is taken by a row that says something else.
    """
    if FIELDS.setdefault(row.name, row) != row:
        raise ConfigError(f"The field '{row.name}' is declared twice with different content.")
    return row
