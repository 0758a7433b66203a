"""Reactivity as tables: one row a structure, or one row an atom."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from eqff.checkpoints.atomic import replacing
from eqff.errors import ModelError
from eqff.observables.charge_states import Reactivity

Row = Mapping[str, object]

ENERGIES = ("ionization_potential", "electron_affinity", "electronegativity", "hardness", "electrophilicity")
FUKUI = ("fukui_plus", "fukui_minus", "fukui_zero")


def reactivity_table(results: Sequence[Reactivity]) -> list[Row]:
    """A row for each structure: place, charge, multiplicities of the three states, and energies in eV."""
    return [
        {
            "structure": result.place,
            "total_charge (e)": result.total_charges[1],
            "multiplicities": "/".join(map(str, result.multiplicities)),
            **{f"{name} (eV)": getattr(result, name) for name in ENERGIES},
        }
        for result in results
    ]


def atom_table(result: Reactivity) -> list[Row]:
    """A row for each atom: element, charge in each state in e, and the Fukui functions.

    Raises:
        ModelError: There are no charges.
    """
    if result.charges is None:
        raise ModelError(f"{result.place}: Fukui functions need atomic charges, which the model does not predict.")
    states = [f"charge at {charge:+d} (e)" if charge else "charge at 0 (e)" for charge in result.total_charges]
    return [
        {
            "atom": index,
            "element": symbol,
            **dict(zip(states, result.charges[:, index].tolist(), strict=True)),
            **{name: float(getattr(result, name)[index]) for name in FUKUI},
        }
        for index, symbol in enumerate(result.symbols)
    ]


def markdown_table(rows: Sequence[Row], digits: int = 3) -> str:
    """Rows as a markdown table; empty for none."""
    if not rows:
        return ""
    shown = [[_shown(value, digits) for value in row.values()] for row in rows]
    lines = [list(rows[0]), ["---"] * len(rows[0]), *shown]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def write_csv(path: str | Path, rows: Sequence[Row]) -> Path:
    """Writes rows with all their digits; rows have the same columns."""
    with replacing(Path(path)) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)
    return Path(path)


def _shown(value: object, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)
