"""Molecules, ions, states and pairs of the shipped data set, as plain tables.

Starting geometries are ASE's copies of the G2 set (doi 10.1063/1.473182) with atoms removed or replaced; every state is
relaxed afterwards, so they need only be near.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ase import Atoms
from ase.build import molecule

State = tuple[int, int]  # total charge (e), multiplicity 2S+1
Fragment = tuple[str, int, int]  # species, total charge (e), multiplicity 2S+1


@dataclass(frozen=True)
class Species:
    """A molecule: ``base`` in ASE's G2 set without the atoms ``remove``, with the elements ``swap`` put in."""

    base: str
    states: tuple[State, ...]
    remove: tuple[int, ...] = ()
    swap: dict[int, str] = field(default_factory=dict)

    def build(self) -> Atoms:
        """Return the starting geometry (Å)."""
        atoms = molecule(self.base)
        for index, symbol in self.swap.items():
            atoms.symbols[index] = symbol
        del atoms[list(self.remove)]
        return Atoms(atoms.numbers, atoms.positions)


ATOMS = {"F-": ("F", -1), "Cl-": ("Cl", -1), "Na+": ("Na", 1), "Li+": ("Li", 1)}  # monatomic ions, in pairs only

SEEN = {
    "H2O": Species("H2O", ((0, 1), (1, 2))),
    "OH": Species("OH", ((-1, 1), (0, 2), (1, 3))),
    "H3O": Species("NH3", ((1, 1),), swap={0: "O"}),
    "NH3": Species("NH3", ((0, 1), (1, 2))),
    "NH4": Species("CH4", ((1, 1),), swap={0: "N"}),
    "NH2": Species("NH2", ((-1, 1), (0, 2), (1, 3))),
    "CH2": Species("CH2_s1A1d", ((0, 1), (0, 3), (1, 2), (-1, 2))),
    "CH3": Species("CH3", ((1, 1), (0, 2), (-1, 1))),
    "CH3OH": Species("CH3OH", ((0, 1), (1, 2))),
    "CH3O": Species("CH3O", ((-1, 1), (0, 2))),
    "H2CO": Species("H2CO", ((0, 1), (1, 2), (-1, 2), (0, 3))),
    "HCOOH": Species("HCOOH", ((0, 1), (1, 2))),
    "HCOO": Species("HCOOH", ((-1, 1), (0, 2)), remove=(3,)),
    "C2H4": Species("C2H4", ((0, 1), (1, 2), (-1, 2), (0, 3))),
    "HCN": Species("HCN", ((0, 1), (-1, 2))),
    "CN": Species("CN", ((-1, 1), (0, 2))),
    "CO2": Species("CO2", ((0, 1), (-1, 2), (1, 2))),
    "O2": Species("O2", ((0, 3), (-1, 2), (1, 2))),
    "NO": Species("NO", ((0, 2), (1, 1), (-1, 3))),
    "HCONH2": Species("CH3CONH2", ((0, 1), (1, 2)), remove=(5, 6, 7), swap={3: "H"}),
    "CH3COO": Species("CH3COOH", ((-1, 1), (0, 2)), remove=(3,)),
    "CH3NH3": Species("C2H6", ((1, 1),), swap={0: "N"}),
    "C6H6": Species("C6H6", ((0, 1), (1, 2), (-1, 2), (0, 3))),
    "CH3NO2": Species("CH3NO2", ((0, 1), (-1, 2))),
    "CH3F": Species("CH3Cl", ((0, 1),), swap={1: "F"}),
    "CH3Cl": Species("CH3Cl", ((0, 1), (1, 2))),
    "HF": Species("HF", ((0, 1),)),
    "SH": Species("SH", ((-1, 1), (0, 2), (1, 3))),
    "SH2": Species("SH2", ((0, 1), (1, 2))),
}

UNSEEN = {
    "CH3CHO": Species("CH3CHO", ((0, 1), (1, 2), (-1, 2), (0, 3))),
    "CH3CN": Species("CH3CN", ((0, 1), (-1, 2))),
    "C2H5OH": Species("CH3CH2OH", ((0, 1), (1, 2))),
    "C2H5O": Species("CH3CH2OH", ((-1, 1), (0, 2)), remove=(3,)),
    "C2H5NH3": Species("C3H8", ((1, 1),), swap={1: "N"}),
    "C2H5": Species("C2H5", ((0, 2), (1, 1))),
    "C2H2": Species("C2H2", ((0, 1), (1, 2), (0, 3))),
    "CH3SH": Species("CH3SH", ((0, 1), (1, 2))),
    "CH3S": Species("CH3S", ((-1, 1), (0, 2))),
    "HCO": Species("HCO", ((0, 2), (1, 1), (-1, 1))),
    "OCHCHO": Species("OCHCHO", ((0, 1), (-1, 2), (0, 3))),
    "CH3CONH2": Species("CH3CONH2", ((0, 1),)),
    "CH3OCH3": Species("CH3OCH3", ((0, 1), (1, 2))),
    "C5H5N": Species("C5H5N", ((0, 1), (1, 2), (-1, 2))),
}

# No alkali ions, no radical cations, few opposite charges: GFN2-xTB lets charge flow between distant fragments there,
# or its SCF fails (see the card). DFT_PAIRS, for a long-range corrected functional, has them.
_ANIONS = {
    ("F-", -1, 1): ("H2O", "CH3OH", "NH3"),
    ("Cl-", -1, 1): ("H2O", "CH3OH", "HCONH2", "NH3", "C6H6"),
    ("OH", -1, 1): ("H2O", "NH3"),
    ("HCOO", -1, 1): ("H2O", "CH3OH", "HCONH2"),
    ("CH3COO", -1, 1): ("H2O",),
    ("CN", -1, 1): ("H2O",),
    ("SH", -1, 1): ("H2O",),
    ("CH3O", -1, 1): ("CH3OH",),
}
_CATIONS = {
    ("NH4", 1, 1): ("H2O", "CH3OH", "NH3", "HCONH2", "H2CO", "C6H6"),
    ("CH3NH3", 1, 1): ("H2O", "CH3OH", "HCONH2"),
    ("H3O", 1, 1): ("H2O", "CH3OH"),
}
_NEUTRALS = {
    ("H2O", 0, 1): ("H2O", "HCONH2", "CH3OH", "NH3", "C6H6", "HCOOH", "HF", "CH3Cl", "H2CO", "CO2"),
    ("HCONH2", 0, 1): ("HCONH2",),
    ("NH3", 0, 1): ("NH3",),
}
_RADICALS = {
    ("CH3", 0, 2): ("H2O",),
    ("O2", 0, 3): ("H2O",),
    ("O2", -1, 2): ("H2O",),
    ("C2H4", -1, 2): ("H2O",),
    ("H2CO", -1, 2): ("H2O",),
    ("CO2", -1, 2): ("H2O",),
}
_IONIC: tuple[tuple[Fragment, Fragment], ...] = (
    (("NH4", 1, 1), ("Cl-", -1, 1)),
    (("NH4", 1, 1), ("HCOO", -1, 1)),
    (("CH3NH3", 1, 1), ("Cl-", -1, 1)),
    (("CH3NH3", 1, 1), ("CH3COO", -1, 1)),
    (("NH4", 1, 1), ("NH4", 1, 1)),
    (("NH4", 1, 1), ("CH3NH3", 1, 1)),
    (("Cl-", -1, 1), ("Cl-", -1, 1)),
    (("Cl-", -1, 1), ("HCOO", -1, 1)),
    (("HCOO", -1, 1), ("HCOO", -1, 1)),
)
_WITH_NEUTRAL = (_ANIONS, _CATIONS, _NEUTRALS, _RADICALS)
SEEN_PAIRS: tuple[tuple[Fragment, Fragment], ...] = (
    *((a, (b, 0, 1)) for table in _WITH_NEUTRAL for a, names in table.items() for b in names),
    *_IONIC,
)
UNSEEN_PAIRS: tuple[tuple[Fragment, Fragment], ...] = (
    (("C2H5O", -1, 1), ("CH3OCH3", 0, 1)),
    (("C2H5O", -1, 1), ("C2H5OH", 0, 1)),
    (("CH3S", -1, 1), ("C2H5OH", 0, 1)),
    (("CH3S", -1, 1), ("CH3OCH3", 0, 1)),
    (("C2H5NH3", 1, 1), ("CH3CN", 0, 1)),
    (("C2H5NH3", 1, 1), ("CH3CONH2", 0, 1)),
    (("C2H5NH3", 1, 1), ("CH3S", -1, 1)),
    (("C2H5NH3", 1, 1), ("C2H5NH3", 1, 1)),
    (("C2H5OH", 0, 1), ("CH3CN", 0, 1)),
    (("C2H5OH", 0, 1), ("C5H5N", 0, 1)),
    (("CH3CHO", 0, 1), ("CH3OCH3", 0, 1)),
    (("C2H5", 0, 2), ("C2H5OH", 0, 1)),
)

# The subset labelled by density functional theory: states, and pairs that need a long-range corrected functional.
DFT_STATES = (
    *(("H2O", q, m) for q, m in ((0, 1), (1, 2))),
    *(("OH", q, m) for q, m in ((-1, 1), (0, 2), (1, 3))),
    *(("NH3", q, m) for q, m in ((0, 1), (1, 2))),
    *(("NH2", q, m) for q, m in ((-1, 1), (0, 2), (1, 3))),
    *(("CH2", q, m) for q, m in ((0, 1), (0, 3), (1, 2), (-1, 2))),
    *(("CH3", q, m) for q, m in ((1, 1), (0, 2), (-1, 1))),
    *(("H2CO", q, m) for q, m in ((0, 1), (1, 2), (-1, 2), (0, 3))),
    *(("CH3O", q, m) for q, m in ((-1, 1), (0, 2))),
    *(("O2", q, m) for q, m in ((0, 3), (-1, 2), (1, 2))),
    *(("NO", q, m) for q, m in ((0, 2), (1, 1), (-1, 3))),
    *(("CO2", q, m) for q, m in ((0, 1), (-1, 2), (1, 2))),
    *(("SH", q, m) for q, m in ((-1, 1), (0, 2), (1, 3))),
)
DFT_PAIRS: tuple[tuple[Fragment, Fragment], ...] = (
    (("Na+", 1, 1), ("Cl-", -1, 1)),
    (("Na+", 1, 1), ("F-", -1, 1)),
    (("Li+", 1, 1), ("F-", -1, 1)),
    (("Li+", 1, 1), ("Cl-", -1, 1)),
    (("Na+", 1, 1), ("OH", -1, 1)),
    (("NH4", 1, 1), ("Cl-", -1, 1)),
    (("Na+", 1, 1), ("H2O", 0, 1)),
    (("Li+", 1, 1), ("H2O", 0, 1)),
    (("Cl-", -1, 1), ("H2O", 0, 1)),
    (("OH", 0, 2), ("H2O", 0, 1)),
    (("Na+", 1, 1), ("OH", 0, 2)),
)

# Neutral ground states.
ISOLATED_ATOMS = {"H": 2, "C": 3, "N": 4, "O": 3, "F": 2, "S": 3, "Cl": 2}
DFT_ISOLATED_ATOMS = {**ISOLATED_ATOMS, "Li": 2, "Na": 2}
