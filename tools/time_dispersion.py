"""CPU time of dispersion terms on one thread: python tools/time_dispersion.py

Energy and forces of 32 molecules of 20 atoms, with and without the second derivative that training takes, and of a box
of 999 atoms of water at its density; and how many pairs and triples that is.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule

from eqff.build import ModelContext, build_potential
from eqff.data.graph import AtomicGraph
from eqff.dispersion.three_body import TRIPLES
from eqff.dispersion.two_body import PAIRS
from eqff.potential import Potential
from eqff.testing.graphs import graph_of
from eqff.testing.structures import molecule as random_molecule

BJ = {"_target_": "eqff.terms.d3.D3", "functional": "pbe"}
TERMS = {
    "D3(BJ)": BJ,
    "D3(BJ) with triples": {**BJ, "three_body": True},
    "D4 with triples": {"_target_": "eqff.terms.d4.D4", "functional": "pbe"},
    "learned": {"_target_": "eqff.terms.learned_dispersion.LearnedDispersion"},
}
ELEMENTS = (1, 6, 7, 8)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="the fastest counts")
    parser.add_argument("--waters", type=int, default=333, help="molecules in the box")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    batch = [random_molecule(seed, 20, ELEMENTS) for seed in range(32)]
    box = [water_box(arguments.waters)]
    columns = ("batch, forces", "batch, training", "box, forces", "box, lists", "pairs", "edges of triples")
    print(f"{'CPU s':22}" + "".join(f"{column:>18}" for column in columns))
    for name, config in TERMS.items():
        print(f"{name:22}" + "".join(f"{value:>18}" for value in row(config, batch, box, arguments.repeats)))


def row(config: Mapping[str, Any], batch: list[Atoms], box: list[Atoms], repeats: int) -> list[str]:
    """What is printed of a term."""
    potential = build_potential({"terms": {"d": config}}, ModelContext(ELEMENTS, {}), torch.float64)
    lists = potential.neighbour_lists
    small, large = (graph_of(structures, lists, torch.float64) for structures in (batch, box))
    seconds = [
        fastest(lambda: potential(small, create_graph=False), repeats),
        fastest(lambda: training_step(potential, small), repeats),
        fastest(lambda: potential(large, create_graph=False), repeats),
        fastest(lambda: graph_of(box, lists, torch.float64), 1),
    ]
    counts = (len(large.edges[PAIRS].sender) // 2, candidates(large))
    return [f"{value:.3f}" for value in seconds] + [f"{count:,}" for count in counts]


def training_step(potential: Potential, graph: AtomicGraph) -> None:
    """Forces differentiated again, by positions."""
    positions = graph.positions.clone().requires_grad_()
    energy = potential.energy(graph.deformed(positions))[0].sum()
    forces = torch.autograd.grad(energy, positions, create_graph=True)[0]
    torch.autograd.grad(forces.square().sum(), positions)


def fastest(function: Callable[[], object], repeats: int) -> float:
    """Seconds of CPU: what else the machine does counts for little."""
    times = []
    for _ in range(repeats):
        begun = time.process_time()
        function()
        times.append(time.process_time() - begun)
    return min(times)


def candidates(graph: AtomicGraph) -> int:
    """Pairs of edges that triples are looked for among."""
    if TRIPLES not in graph.edges:
        return 0
    edges = graph.edges[TRIPLES]
    counts = torch.bincount(edges.receiver[edges.sender <= edges.receiver])
    return int((counts * (counts - 1) // 2).sum())


def water_box(count: int) -> Atoms:
    """Molecules on a lattice, turned at random, at 0.997 g/cm³."""
    rng = np.random.default_rng(0)
    side = int(np.ceil(count ** (1 / 3)))
    places = np.array([(i, j, k) for i in range(side) for j in range(side) for k in range(side)])[:count]
    length = (count * 29.98) ** (1 / 3)
    atoms = Atoms(cell=[length] * 3, pbc=True, info={"total_charge": 0, "multiplicity": 1})
    for place in places:
        water = molecule("H2O")
        water.rotate(rng.uniform(0, 360), rng.normal(size=3))
        water.positions += place * length / side
        atoms += water
    atoms.info.update(total_charge=0, multiplicity=1)
    return atoms


if __name__ == "__main__":
    main()
