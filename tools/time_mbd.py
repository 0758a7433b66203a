"""Time and memory of many-body dispersion on water clusters: ``python tools/time_mbd.py batch 20 40 80`` (molecules).

Each size runs in a process of its own, so that its memory is seen. ``batch`` times 32 clusters of 7 waters.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule

from eqff.dispersion.all_pairs import AllPairs
from eqff.dispersion.mbd.limits import memory
from eqff.dispersion.mbd.sampling import samples_of
from eqff.potential import Potential
from eqff.terms.mbd import ManyBodyDispersion
from eqff.terms.tkatchenko_scheffler import TkatchenkoScheffler
from eqff.testing.graphs import graph_of

ELEMENTS = (1, 8)
TERMS = {
    "TS": lambda: TkatchenkoScheffler(0.94, ELEMENTS),
    "MBD@TS": lambda: ManyBodyDispersion(0.81, ELEMENTS, screening=False, max_memory=1e3),
    "MBD@rsSCS": lambda: ManyBodyDispersion(0.83, ELEMENTS, max_memory=1e3),
}


def waters(count: int, seed: int) -> Atoms:
    """Molecules turned at random on a cubic lattice of 3.1 Å."""
    rng, cluster = np.random.default_rng(seed), Atoms()
    side = int(np.ceil(count ** (1 / 3)))
    for place in np.stack(np.meshgrid(*[np.arange(side)] * 3), axis=-1).reshape(-1, 3)[:count]:
        water = molecule("H2O")
        water.rotate(rng.uniform(0, 360), rng.normal(size=3))
        water.positions += 3.1 * place
        cluster += water
    return cluster


def measure(name: str, structures: list[Atoms], repeats: int) -> None:
    """Prints seconds of processor time of forces and of the gradient of a loss on forces, and memory."""
    potential = Potential(None, {"term": TERMS[name]()}, elements=ELEMENTS).double()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    graph = graph_of(structures, potential.neighbour_lists, torch.float64, classical=True)

    def forces() -> None:
        potential(graph)

    def training() -> None:
        positions = graph.positions.clone().requires_grad_()
        energy = potential.energy(graph.deformed(positions))[0].sum()
        gradient = torch.autograd.grad(energy, positions, create_graph=True)[0]
        gradient.square().sum().backward()

    seconds = [min(_seconds(work) for _ in range(repeats)) for work in (forces, training)]
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    line = f"{name:10} {len(structures):3} x {len(structures[0]):4} atoms: forces {seconds[0]:7.3f} s, training"
    line += f" {seconds[1]:7.3f} s, {peak:5.2f} GiB"
    if name != "TS":
        term = potential.terms["term"]
        pairs = AllPairs.of(graph, term.settings.splitting.cutoff)
        line += f" (estimated {memory(graph, pairs, samples_of(graph, None, None), term.settings):.2f})"
    print(line, flush=True)


def _seconds(work) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Sizes on the command line; a name before them measures that method here."""
    arguments = sys.argv[1:] or ["batch", "20", "40", "80"]
    if arguments[0] not in TERMS:
        for size in arguments:
            for name in TERMS:
                subprocess.run([sys.executable, __file__, name, size], check=True)
        return
    torch.set_num_threads(1)
    name, size = arguments
    if size == "batch":
        measure(name, [waters(7, seed) for seed in range(32)], repeats=3)
    else:
        measure(name, [waters(int(size), 0)], repeats=1)


if __name__ == "__main__":
    main()
