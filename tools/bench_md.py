"""Steps of molecular dynamics through ASE, and what share of their time is the model's; one JSON line each:
PEERS_FOLDER=... python tools/bench_md.py --workload water648 --mode eager --threads 1 --steps 40

Velocity Verlet at 300 K with a time step of 0.5 fs and the calculator's own skin: searches of pairs, ASE's work and
all conversions count as steps do. Weights are random and small: they neither heat a box of water nor hold a molecule
together, so atoms of an open structure are put back where they were, and their momenta, every 20 steps (10 fs), while
no clock runs. ``pairs`` is their number within the local cutoff, at the beginning and at the end.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import bench_eqff
import numpy as np
import torch
from ase import units
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet

WARM, LEG = 5, 20
"""Steps before the first that counts, and between those at which an open structure begins anew."""


class Timed:
    """A model whose calls are timed; all else is the model's."""

    def __init__(self, model: Any):
        self.model, self.cpu, self.wall = model, 0.0, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own."""
        cpu, wall = time.process_time(), time.perf_counter()
        out = self.model(*args, **kwargs)
        self.cpu += time.process_time() - cpu
        self.wall += time.perf_counter() - wall
        return out


def run(options: argparse.Namespace, workload: str) -> dict[str, Any]:
    """One trajectory."""
    peer = bench_eqff.Eqff(options)
    peer.scale = 0.1  # forces of an untrained model would heat the box
    atoms = bench_eqff.common.wl.system(workload, options.seed)
    model = peer.build(options.config, sorted({int(z) for z in atoms.numbers} | {1, 6, 8})).eval()
    calculator = peer.calculator(model, atoms)
    timed = calculator.potential = Timed(calculator.potential)
    atoms.calc = calculator
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(options.seed))
    dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
    start = atoms.positions.copy(), atoms.get_momenta()
    dynamics.run(WARM)
    pairs, searches = [_pairs(calculator)], calculator.neighbours.searches
    leg = options.steps if atoms.pbc.any() else LEG
    spent = np.zeros(4)  # all and the model's, each as CPU and wall time
    for first in range(0, options.steps, leg):
        if leg < options.steps:
            atoms.positions[:] = start[0]
            atoms.set_momenta(start[1])
            atoms.get_forces()
        before = _clocks(timed)
        dynamics.run(min(leg, options.steps - first))
        spent += _clocks(timed) - before
    pairs.append(_pairs(calculator))
    cpu, wall, model_cpu, model_wall = spent
    return {
        "what": "md_step",
        "atoms": len(atoms),
        "pairs": pairs,
        "steps": options.steps,
        "s_per_step": wall / options.steps,
        "cpu_s": cpu / options.steps,
        "model_share": model_cpu / cpu,
        "model_share_wall": model_wall / wall,
        "searches": calculator.neighbours.searches - searches,
    }


def _clocks(timed: Timed) -> np.ndarray:
    return np.array([time.process_time(), time.perf_counter(), timed.cpu, timed.wall])


def _pairs(calculator: Any) -> int:
    return len(calculator._inputs.pairs["local"].sender)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="water648", help="names separated by commas")
    parser.add_argument("--config", default="matched")
    parser.add_argument("--mode", default="eager")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--task", default="infer", help=argparse.SUPPRESS)
    parser.add_argument("--budget", type=float, default=0.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    told = {"peer": "eqff", "task": "md", "config": options.config, "mode": options.mode, "threads": options.threads}
    for workload in options.workload.split(","):
        print(json.dumps(told | {"workload": workload} | run(options, workload)), flush=True)


if __name__ == "__main__":
    main()
