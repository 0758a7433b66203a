"""Two waters that are pulled apart, and one in a uniform field, by models beside the labels:

    python tools/wannier_tail.py runs/short_range runs/dplr runs/scfnn --scan eqff/datasets/water/dissociation.extxyz.gz

Printed are energies of the pair relative to the last distance in meV, of the labels, of the dipoles that these have
(k_e (mu_1·mu_2 - 3 mu_1x mu_2x)/R³) and of each model; and of a molecule of the file, for models with charges, the
dipole, how far -dE/dF is from it, and -k_e d²E/dF².
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from make_labels import read_frames

from eqff.checkpoints.model_file import load_model
from eqff.potential import Potential
from eqff.response.from_energy import energy_response
from eqff.testing.graphs import graph_of
from eqff.units import COULOMB_CONSTANT

MOLECULE = 3  # atoms of the first one
ELECTRONS, ION = -8.0, {1: 1.0, 8: 6.0}


def dipole_energies(frames: list[Atoms]) -> np.ndarray:
    """Return the energy of the labelled dipoles of both molecules in eV, whose oxygens are along x."""
    found = []
    for atoms in frames:
        charges = np.array([ION[z] for z in atoms.numbers])
        held = np.where(atoms.numbers == 8, ELECTRONS, 0.0)
        places = charges[:, None] * atoms.positions + held[:, None] * (
            atoms.positions + atoms.arrays["wannier_displacements"]
        )
        first, second = places[:MOLECULE].sum(axis=0), places[MOLECULE:].sum(axis=0)
        found.append(COULOMB_CONSTANT * (first @ second - 3 * first[0] * second[0]) / distance(atoms) ** 3)
    return np.array(found)


def distance(atoms: Atoms) -> float:
    """Return that of the oxygens in Å."""
    return float(np.linalg.norm(atoms.positions[MOLECULE] - atoms.positions[0]))


def energies(potential: Potential, frames: list[Atoms]) -> np.ndarray:
    """Return the predicted ones in eV."""
    with torch.no_grad():
        return potential.energy(graph_of(frames, potential.neighbour_lists, potential.dtype))[0].numpy()


def in_a_field(potential: Potential, atoms: Atoms) -> str:
    """Return dipole and polarizability of a molecule as a line."""
    graph = graph_of([atoms], potential.neighbour_lists, potential.dtype)
    found = energy_response(potential, graph)
    dipole = potential(graph)["dipole"]
    off, alpha = float((found.dipole - dipole).abs().max()), torch.linalg.eigvalsh(found.polarizability[0])
    return (
        f"dipole {float(dipole.norm()):.4f} e Å, -dE/dF off by {off:.0e} e Å, principal polarizabilities "
        f"{', '.join(f'{value:.2f}' for value in alpha.tolist())} Å³"
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", type=Path, nargs="+", help="model files or run folders")
    p.add_argument("--scan", type=Path, required=True, help="labelled frames of the pair, by distance")
    args = p.parse_args(argv)
    frames = read_frames(args.scan)
    potentials = {path.name: load_model(path, dtype="float64") for path in args.models}
    columns = {
        "labels": np.array([atoms.get_potential_energy() for atoms in frames]),
        "dipoles": dipole_energies(frames),
        **{name: energies(potential, frames) for name, potential in potentials.items()},
    }
    print("| R, Å | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1))
    for row, atoms in enumerate(frames):
        values = [f"{1e3 * (column[row] - column[-1]):.1f}" for column in columns.values()]
        print(f"| {distance(atoms):.1f} | " + " | ".join(values) + " |")
    one = frames[-1][:MOLECULE]
    one.info.update(total_charge=0, multiplicity=1)
    for name, potential in potentials.items():
        if potential.reads_field:
            print(f"{name}: {in_a_field(potential, one)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
