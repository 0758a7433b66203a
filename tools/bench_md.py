"""Steps of molecular dynamics through ASE, and what share of their time is the model's; one JSON line each:
PEERS_FOLDER=... python tools/bench_md.py --workload water648 --mode eager --threads 1 --steps 40

Velocity Verlet at 300 K with a time step of 0.5 fs and the calculator's own skin: searches of pairs, ASE's work and
all conversions count as steps do. Weights are random and small, so that a box of water keeps its shape meanwhile.
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

WARM = 5


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
    dynamics.run(WARM)
    timed.cpu = timed.wall = 0.0
    searches = calculator.neighbours.searches
    cpu, wall = time.process_time(), time.perf_counter()
    dynamics.run(options.steps)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "what": "md_step",
        "atoms": len(atoms),
        "steps": options.steps,
        "s_per_step": wall / options.steps,
        "cpu_s": cpu / options.steps,
        "model_share": timed.cpu / cpu,
        "model_share_wall": timed.wall / wall,
        "searches": calculator.neighbours.searches - searches,
    }


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
