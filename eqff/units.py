"""Physical constants in eqff's units (Å, eV, e): every part takes them from here [CODATA 2018]."""

from __future__ import annotations

HARTREE = 27.211386245988
"""eV."""

BOHR = 0.529177210903
"""Å."""

COULOMB_CONSTANT = 14.3996454784255
"""k_e = e²/(4 pi epsilon_0) = Hartree · Bohr, in eV·Å/e²."""
