"""Total charge and multiplicity against the electron count: what is impossible is refused, nothing is guessed."""

from __future__ import annotations

import numpy as np

from eqff.errors import DataError


def electron_count(numbers: np.ndarray, total_charge: float, where: str = "structure") -> int:
    """Electrons of a structure with atomic numbers ``numbers`` (N,) and a total charge in e.

    Raises:
        DataError: The charge is not whole, or larger than that of all nuclei.
    """
    if not np.isfinite(total_charge) or abs(total_charge - round(total_charge)) > 1e-4:
        raise DataError(
            f"{where}: the total charge is {total_charge:g} e, which is not a whole number of electrons. Is the key or "
            "its unit the right one? ('data.keys={KEY: total_charge}')"
        )
    electrons = int(np.sum(numbers)) - round(total_charge)
    if electrons < 0:
        raise DataError(
            f"{where}: a total charge of {round(total_charge):+d} e is more than all {int(np.sum(numbers))} "
            "electrons of the neutral structure. Check the charge."
        )
    return electrons


def lowest_multiplicity(numbers: np.ndarray, total_charge: float, where: str = "structure") -> int:
    """The lowest 2S+1 that the electron count allows: 1 for an even number of electrons, 2 for an odd one."""
    return 1 + electron_count(numbers, total_charge, where) % 2


def check_state(numbers: np.ndarray, total_charge: float, multiplicity: float, where: str = "structure") -> None:
    """Checks that a charge and spin state can exist.

    Args:
        numbers: Atomic numbers, (N,).
        total_charge: e.
        multiplicity: 2S+1.
        where: File and frame, for the message.

    Raises:
        DataError: Says which multiplicities are possible.
    """
    electrons = electron_count(numbers, total_charge, where)
    lowest = 1 + electrons % 2
    possible = np.arange(lowest, electrons + 2, 2)
    if multiplicity in possible:
        return
    shown = ", ".join(str(value) for value in possible[:4]) + (", ..." if len(possible) > 4 else "")
    hint = ""
    if multiplicity + 1 in possible:
        hint = (
            " If the file's number counts unpaired electrons (2S) and not the multiplicity 2S+1, say so: "
            "'data.keys={KEY: unpaired_electrons}'."
        )
    raise DataError(
        f"{where}: multiplicity {multiplicity:g} is impossible for {electrons} electrons (total charge "
        f"{round(total_charge):+d} e); possible are {shown}.{hint}"
    )
