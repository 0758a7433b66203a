"""Time and memory of multipole energies and forces, and of fields of dipoles, in boxes of water of growing size.

    OMP_NUM_THREADS=1 python tools/measure_multipoles.py cost 4 8 12 16
    OMP_NUM_THREADS=1 python tools/measure_multipoles.py accuracy 4

Each number is one of molecules along an edge. Times are of the processor, best of three; memory is the highest that the
process has had, PyTorch itself included. Errors are against sums over waves at 1e-14.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import torch
from ase.build import molecule

from eqff.derivatives import differentiate
from eqff.longrange.multipoles.interaction import MultipoleInteraction
from eqff.longrange.multipoles.moments import Moments
from eqff.testing.graphs import graph_of

SPACING = 3.104  # Å between molecules, the density of water


def water(edge, rng):
    """A box of molecules on a lattice, turned at random, with moments of about AMOEBA's size."""
    one = molecule("H2O")
    one.positions -= one.get_center_of_mass()
    atoms = one[:0]
    for place in np.ndindex(edge, edge, edge):
        turned = one.copy()
        turned.rotate(*rng.normal(size=(2, 3)))
        turned.positions += SPACING * np.array(place)
        atoms += turned
    atoms.set_cell(np.eye(3) * SPACING * edge)
    atoms.pbc = True
    atoms.info.update(total_charge=0, multiplicity=1)
    charges = np.where(atoms.numbers == 8, -0.52, 0.26)
    dipoles, quadrupoles = 0.05 * rng.normal(size=(len(atoms), 3)), 0.05 * rng.normal(size=(len(atoms), 3, 3))
    return atoms, Moments(*(torch.as_tensor(x) for x in (charges, dipoles, quadrupoles)))


def best_of_three(function):
    """Seconds of the processor."""
    times = []
    for _ in range(3):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def forces(interaction, graph, moments):
    """And energy."""
    return differentiate(lambda moved: (interaction.bind(moved).energy(moments), {}), graph)


def cost(edge, cutoff):
    """Prints one row."""
    atoms, moments = water(edge, np.random.default_rng(0))
    interaction = MultipoleInteraction(cutoff=cutoff)
    graph = graph_of([atoms], interaction.neighbour_lists, torch.float64)
    whole = best_of_three(lambda: forces(interaction, graph, moments))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with torch.no_grad():
        bind = best_of_three(lambda: interaction.bind(graph, rank=1))
        bound = interaction.bind(graph, rank=1)
        fields = best_of_three(lambda: bound.dipole_fields(moments.dipoles))
    print(f"| {len(atoms)} | {whole:.3f} | {memory:.0f} | {bind:.3f} | {fields:.4f} |", flush=True)


def accuracy(edge, cutoff):
    """Prints a row for each accuracy."""
    atoms, moments = water(edge, np.random.default_rng(0))

    def summed(accuracy, mesh_from):
        interaction = MultipoleInteraction(cutoff=cutoff, accuracy=accuracy, mesh_from=mesh_from)
        return forces(interaction, graph_of([atoms], interaction.neighbour_lists, torch.float64), moments)

    def rms(vectors):
        return float(vectors.square().sum(dim=1).mean().sqrt())

    exact = summed(1e-14, 10**9)
    for target in (1e-4, 1e-5, 1e-6, 1e-8):
        row = [f"{target:.0e}"]
        for mesh_from in (10**9, 1):
            found = summed(target, mesh_from)
            energy = abs(float(found["energy"] - exact["energy"])) / len(atoms)
            row += [f"{rms(found['forces'] - exact['forces']) / rms(exact['forces']):.0e}", f"{energy:.0e}"]
        print("| " + " | ".join(row) + " |", flush=True)


def main():
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("cost", "accuracy"))
    parser.add_argument("edges", nargs="+", type=int, help="molecules along an edge")
    parser.add_argument("--cutoff", type=float, default=6.0, help="Å")
    options = parser.parse_args()
    if options.what == "cost":
        print("| atoms | energy and forces, s | MB | bind for dipoles, s | their fields, s |\n|---|---|---|---|---|")
    else:
        print("| accuracy | forces, waves | eV/atom | forces, mesh | eV/atom |\n|---|---|---|---|---|")
    for edge in options.edges:
        (cost if options.what == "cost" else accuracy)(edge, options.cutoff)


if __name__ == "__main__":
    main()
