"""Training steps of whole models compiled and uncompiled, in turn in one process: milliseconds of CPU time.

    OMP_NUM_THREADS=1 python tools/compiled_models.py qeq polarizable "sqe;model.backbone.channels=32"

Each argument is a model of conf/model, with overrides behind semicolons. A step is prediction, a loss on energies,
forces and charges, and its derivatives by all weights, of 32 ethanol molecules in float32 (--molecules for others,
--periodic for small boxes of water). One line each, as a row of a Markdown table: model, uncompiled,
compiled, ratio, CPU seconds of the first step, which compiles.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from benchmarks.models import built, composed

from eqff.compilation.prediction import uncompiled
from eqff.testing.graphs import graph_of


def structures(count: int, periodic: bool) -> list[Atoms]:
    """Ethanol molecules, or boxes of eight water molecules, each distorted in its own way."""
    found = []
    for index in range(count):
        atoms = molecule("H2O" if periodic else "CH3CH2OH")
        if periodic:
            atoms.set_cell([3.1] * 3)
            atoms.pbc = True
            atoms = atoms.repeat(2)
        atoms.info |= {"total_charge": 0, "multiplicity": 1}
        atoms.positions += np.random.default_rng(index).normal(scale=0.05, size=atoms.positions.shape)
        found.append(atoms)
    return found


def stepping(potential: Any, graph: Any) -> Callable[[], None]:
    """A function that takes a step, all but the optimizer's."""
    trained = [p for p in potential.parameters() if p.requires_grad]

    def step() -> None:
        found = potential(graph, create_graph=True)
        loss = sum(found[name].square().sum() for name in ("energy", "forces", "charges") if name in found)
        torch.autograd.grad(loss, trained, allow_unused=True)

    return step


def plainly(step: Callable[[], None]) -> Callable[[], None]:
    """The same step uncompiled."""

    def plain() -> None:
        with uncompiled():
            step()

    return plain


def interleaved(functions: Sequence[Callable[[], None]], rounds: int) -> list[float]:
    """Medians of their CPU milliseconds."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds):
        for function, kept in zip(functions, times, strict=True):
            begin = time.process_time()
            function()
            kept.append(1e3 * (time.process_time() - begin))
    return [statistics.median(kept) for kept in times]


def main() -> None:
    """Reads arguments and prints a line for each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--molecules", type=int, default=32)
    parser.add_argument("--periodic", action="store_true")
    parser.add_argument("--rounds", type=int, default=25)
    given = parser.parse_args()
    batch = structures(given.molecules, given.periodic)
    species = sorted({int(number) for atoms in batch for number in atoms.numbers})
    for model in given.models:
        torch.manual_seed(0)
        potential = built(composed(f"model={model}".split(";")), species)[0].train()
        graph = graph_of(batch, potential.neighbour_lists, torch.float32)
        step = stepping(potential, graph)
        potential.compile_training_step()
        begin = time.process_time()
        step()
        making = time.process_time() - begin
        slow, fast = interleaved([plainly(step), step], given.rounds)
        print(f"| `{model}` | {slow:.1f} | {fast:.1f} | {slow / fast:.2f} | {making:.0f} |", flush=True)


if __name__ == "__main__":
    main()
