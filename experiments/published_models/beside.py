"""Imported models beside the package they come from: usage: beside.py STRUCTURES OUTPUT [NAME...]

Writes a table of energies, forces and stress of both, structure by structure. Needs the package sevenn.
"""

import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.io import read
from sevenn.calculator import SevenNetCalculator

import eqff


def results(atoms: Atoms, calculator: Calculator) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy in eV, forces in eV/Å, stress in eV/Å³."""
    atoms.calc = calculator
    return atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()


def table(frames: list[Atoms], name: str) -> str:
    """Markdown: one row a structure, largest differences last."""
    ours = eqff.load(f"sevenn://{name}").calculator(total_charge=0, multiplicity="lowest")
    theirs = SevenNetCalculator(name, device="cpu")
    head = ("structure", "atoms", "energy, sevenn (eV)", "energy, eqff (eV)", "difference (µeV/atom)",
            "largest force (eV/Å)", "difference (µeV/Å)", "difference of stress (µeV/Å³)")  # fmt: skip
    rows, worst = [], np.zeros(3)
    for atoms in frames:
        (e, f, s), (e2, f2, s2) = results(atoms, theirs), results(atoms, ours)
        off = 1e6 * np.array([abs(e2 - e) / len(atoms), abs(f2 - f).max(), abs(s2 - s).max()])
        worst = np.maximum(worst, off)
        rows.append(
            f"| {atoms.symbols} | {len(atoms)} | {e:.5f} | {e2:.5f} | {off[0]:.2f} | {abs(f).max():.3f} | {off[1]:.1f} "
            f"| {off[2]:.2f} |"
        )
    rows.append(f"| **largest** | | | | **{worst[0]:.2f}** | | **{worst[1]:.1f}** | **{worst[2]:.2f}** |")
    rule = "|---|" + "---:|" * (len(head) - 1)
    return f"{name}\n\n| {' | '.join(head)} |\n{rule}\n" + "\n".join(rows) + "\n"


def main(structures: Path, output: Path, names: list[str]) -> None:
    """Both models on all structures."""
    frames = read(structures, ":")
    text = "\n".join(table(frames, name) for name in names or ["7net-0", "7net-l3i5"])
    output.write_text(text)
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
