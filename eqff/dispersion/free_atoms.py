"""Free atoms as Tkatchenko and Scheffler's method and many-body dispersion take them, and atoms in molecules from them.

The numbers are those of Tkatchenko and Scheffler [Phys. Rev. Lett. 102, 073005 (2009)], whose polarizabilities and C6
are for the most part Chu and Dalgarno's [J. Chem. Phys. 121, 4083 (2004)], with what was added later for heavier
elements, as published with libMBD under CC0 [Hermann et al., J. Chem. Phys. 159, 174802 (2023)]. Lanthanides and
actinides are left out: what circulates for them has radii that do not fit those of their neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from ase.data import atomic_numbers, chemical_symbols
from torch import Tensor

from eqff.errors import ConfigError, ModelError, did_you_mean
from eqff.nn.exact import ExactModule
from eqff.units import BOHR, HARTREE

# fmt: off
_ATOMIC_UNITS = {
    1: (4.5, 6.5, 3.1), 2: (1.38, 1.46, 2.65),
    3: (164.2, 1387, 4.16), 4: (38, 214, 4.17), 5: (21, 99.5, 3.89), 6: (12, 46.6, 3.59), 7: (7.4, 24.2, 3.34),
    8: (5.4, 15.6, 3.19), 9: (3.8, 9.52, 3.04), 10: (2.67, 6.38, 2.91),
    11: (162.7, 1556, 3.73), 12: (71, 627, 4.27), 13: (60, 528, 4.33), 14: (37, 305, 4.2), 15: (25, 185, 4.01),
    16: (19.6, 134, 3.86), 17: (15, 94.6, 3.71), 18: (11.1, 64.3, 3.55),
    19: (292.9, 3897, 3.71), 20: (160, 2221, 4.65), 21: (120, 1383, 4.59), 22: (98, 1044, 4.51), 23: (84, 832, 4.44),
    24: (78, 602, 3.99), 25: (63, 552, 3.97), 26: (56, 482, 4.23), 27: (50, 408, 4.18), 28: (48, 373, 3.82),
    29: (42, 253, 3.76), 30: (40, 284, 4.02), 31: (60, 498, 4.19), 32: (41, 354, 4.2), 33: (29, 246, 4.11),
    34: (25, 210, 4.04), 35: (20, 162, 3.93), 36: (16.8, 129.6, 3.82),
    37: (319.2, 4691, 3.72), 38: (199, 3170, 4.54), 39: (126.737, 1968.58, 4.8151), 40: (119.97, 1677.91, 4.53),
    41: (101.603, 1263.61, 4.2365), 42: (88.4225785, 1028.73, 4.099), 43: (80.083, 1390.87, 4.076),
    44: (65.895, 609.754, 3.9953), 45: (56.1, 469, 3.95), 46: (23.68, 157.5, 3.66), 47: (50.6, 339, 3.82),
    48: (39.7, 452, 3.99), 49: (70.22, 707.046, 4.23198), 50: (55.95, 587.417, 4.303), 51: (43.67197, 459.322, 4.276),
    52: (37.65, 396, 4.22), 53: (35, 385, 4.17), 54: (27.3, 285.9, 4.08),
    55: (427.12, 6582.08, 3.78), 56: (275, 5727, 4.77), 72: (99.52, 1274.8, 4.21), 73: (82.53, 1019.92, 4.15),
    74: (71.041, 847.93, 4.08), 75: (63.04, 710.2, 4.02), 76: (55.055, 596.67, 3.84), 77: (42.51, 359.1, 4),
    78: (39.68, 347.1, 3.92), 79: (36.5, 298, 3.86), 80: (33.9, 392, 3.98), 81: (69.92, 717.44, 3.91),
    82: (61.8, 697, 4.31), 83: (49.02, 571, 4.32), 84: (45.013, 530.92, 4.097), 85: (38.93, 457.53, 4.07),
    86: (33.54, 390.63, 4.23),
}
# fmt: on
_UNITS = (BOHR**3, HARTREE * BOHR**6, BOHR)

FREE_ATOMS: dict[int, tuple[float, float, float]] = {
    number: (row[0] * _UNITS[0], row[1] * _UNITS[1], row[2] * _UNITS[2]) for number, row in _ATOMIC_UNITS.items()
}
"""Static polarizability (Å³), C6 of two like atoms (eV·Å⁶) and van der Waals radius (Å) by atomic number."""


@dataclass(frozen=True)
class DispersionAtoms:
    """What dispersion takes of atoms in a molecule, float64.

    Attributes:
        polarizability: Static, isotropic, alpha in Å³, (N,).
        c6: Of the atom with its like, eV·Å⁶, (N,).
        radius: Van der Waals radius in Å, (N,).
    """

    polarizability: Tensor
    c6: Tensor
    radius: Tensor

    @property
    def frequency(self) -> Tensor:
        """Excitation energy ω = 4/3 C6 / alpha² of the oscillator that has both, eV, (N,)."""
        return 4 / 3 * self.c6 / self.polarizability.square()

    def scaled(self, volume_ratios: Tensor) -> DispersionAtoms:
        """C6 = v² C6, alpha = v alpha, R = v^(1/3) R for volume ratios v (N,) [Tkatchenko & Scheffler 2009].

        Raises:
            ModelError: A volume ratio that is not a positive number; names the atom.
        """
        v = volume_ratios.to(torch.float64)
        good = (v > 0) & v.isfinite()
        if not bool(good.all()):
            atom = int((~good).nonzero()[0])
            raise ModelError(
                f"The volume ratio of atom {atom} of the batch is {float(v[atom]):.4g}, but must be above 0. A head "
                "such as volume_ratios keeps it there."
            )
        return DispersionAtoms(v * self.polarizability, v.square() * self.c6, v.pow(1 / 3) * self.radius)


class FreeAtoms(ExactModule):
    """The table of free atoms for the elements of a model.

    Args:
        elements: Atomic numbers that need an entry.
        others: Further entries or other ones, by element symbol or atomic number: polarizability (Å³), C6 (eV·Å⁶) and
            radius (Å).

    Raises:
        ConfigError: An element without an entry, or an entry that is not three positive numbers.
    """

    def __init__(self, elements: Sequence[int], others: Mapping[str | int, Sequence[float]] | None = None):
        super().__init__()
        known = FREE_ATOMS | {_number(key): _entry(key, row) for key, row in (others or {}).items()}
        absent = [chemical_symbols[number] for number in elements if number not in known]
        if absent:
            raise ConfigError(
                f"There are no free-atom data for {', '.join(absent)}: Tkatchenko and Scheffler's table ends at Rn and "
                f"leaves lanthanides out. Give them, for example free_atoms={{{absent[0]}: [polarizability in Å³, C6 "
                "in eV·Å⁶, van der Waals radius in Å]}."
            )
        table = torch.zeros(max(elements, default=0) + 1, 3, dtype=torch.float64)
        for number in elements:
            table[number] = torch.tensor(known[number], dtype=torch.float64)
        self.register_buffer("table", table, persistent=False)

    def forward(self, numbers: Tensor, volume_ratios: Tensor | None = None) -> DispersionAtoms:
        """Atoms of the elements ``numbers`` (N,), free or with ``volume_ratios`` (N,)."""
        polarizability, c6, radius = self.table[numbers].unbind(1)
        free = DispersionAtoms(polarizability, c6, radius)
        return free if volume_ratios is None else free.scaled(volume_ratios)


def _number(key: str | int) -> int:
    """Atomic number of an element given by number or symbol."""
    text = str(key)
    number = int(text) if text.isdigit() else atomic_numbers.get(text, 0)
    if not 0 < number < len(chemical_symbols):
        raise ConfigError(f"free_atoms: there is no element '{key}'.{did_you_mean(text, atomic_numbers)}")
    return number


def _entry(key: str | int, row: Sequence[float]) -> tuple[float, float, float]:
    values = tuple(float(value) for value in row)
    if len(values) != 3 or not all(0 < value < float("inf") for value in values):
        raise ConfigError(
            f"free_atoms: {key} is {list(row)}, but must be three positive numbers: polarizability (Å³), C6 (eV·Å⁶) "
            "and van der Waals radius (Å)."
        )
    return values[0], values[1], values[2]
