"""What each part of model=full_stack costs in training, beside model=short_range: python tools/stack_cost.py

CPU time of one step on one thread (energies, forces, loss, gradients, optimizer; lists of neighbours are given), the
median of steps that the models take in turn, and the most memory that PyTorch holds at once during a step beyond what
it held before. 32 molecules of 20 and 22 atoms of the shipped set, `test_unseen_molecules`.

    python tools/stack_cost.py --iterations

instead shows that memory of training through the solve does not grow with the solver's iterations.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch.profiler import ProfilerActivity, profile

from eqff.build import ModelContext, build_potential
from eqff.config import config_directory
from eqff.data.atomic_data import AtomicData
from eqff.data.batching import collate
from eqff.data.graph import graph_from_batch
from eqff.data.neighbours import add_neighbours
from eqff.data.reading import read_frames
from eqff.potential import Potential
from eqff.training.losses import Losses
from eqff.training.module import atoms_per_structure
from eqff.training.optimizers import build_optimizer

Config = dict[str, Any]
Step = Callable[[], None]

LADDER = {
    "short_range": (),
    "+ NSE": ("exchanges.equilibration",),
    "+ multipoles": ("heads.atomic_dipoles", "heads.atomic_quadrupoles", "terms.multipoles", "terms.field"),
    "+ induction": ("heads.polarizabilities", "terms.induction"),
    "+ dispersion": ("terms.dispersion",),
}
"""Parts of model=full_stack that come in with each rung, by their place in the config."""
TOLERANCES = (1e-2, 1e-4, 1e-6, 1e-8, 1e-10, 1e-12)
"""Of conjugate gradients, which take more iterations the tighter it is."""


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=15, help="measured steps of each model, after two others")
    parser.add_argument("--structures", type=int, default=32, help="in the batch, at most 41")
    parser.add_argument("--iterations", action="store_true", help="memory against iterations, instead of costs")
    parser.add_argument("overrides", nargs="*", help="of the config, as model.backbone.channels=32")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config, frames = composed(options.overrides), molecules(options.structures)
    print(f"{len(frames)} molecules, {sum(frame.num_nodes for frame in frames)} atoms")
    (iterations if options.iterations else costs)(config, frames, options.steps)


def composed(overrides: list[str]) -> Config:
    """The config of a training of the full stack."""
    with initialize_config_dir(str(config_directory()), version_base="1.3"):
        cfg = compose("train", overrides=["data.path=none", "model=full_stack", *overrides])
    return OmegaConf.to_container(cfg, resolve=True)


def molecules(count: int) -> list[AtomicData]:
    """Those of 20 and 22 atoms."""
    frames = read_frames("shipped:ions/test_unseen_molecules.extxyz.gz", labels=("energy", "forces"))
    return [frame for frame in frames if frame.num_nodes in (20, 22)][:count]


def rungs(config: Config) -> dict[str, Config]:
    """The model's config with more and more of its parts, and with induction of another depth."""
    models: dict[str, Config] = {}
    taken = {place for places in LADDER.values() for place in places}
    for name, places in LADDER.items():
        taken -= set(places)
        models[name] = without(config["model"], taken)
        if name == "+ induction":
            models["+ direct induction"] = changed(models.pop(name), mode="direct")
            models["+ mutual induction"] = without(config["model"], taken)
    return models


def without(model: Config, places: set[str]) -> Config:
    """The config of a model that has lost some of its parts."""
    groups = ("exchanges", "heads", "terms")
    kept = {group: {n: part for n, part in model[group].items() if f"{group}.{n}" not in places} for group in groups}
    return model | kept


def changed(model: Config, **settings: Any) -> Config:
    """The config of a model with other settings of its induction."""
    return model | {"terms": model["terms"] | {"induction": model["terms"]["induction"] | settings}}


def trainer(config: Config, model: Config, frames: list[AtomicData]) -> tuple[Potential, Step]:
    """A fresh model, and what trains it by one step."""
    elements = tuple(sorted({int(z) for frame in frames for z in frame.numbers}))
    torch.manual_seed(0)
    # least squares would do better than one energy for all atoms, at the same cost
    energy = sum(float(frame.energy) for frame in frames) / sum(frame.num_nodes for frame in frames)
    potential = build_potential(model, ModelContext(elements, dict.fromkeys(elements, energy), mean_neighbours=14.0))
    batch = collate([add_neighbours(frame.clone(), potential.neighbour_lists) for frame in frames])
    losses = Losses.from_config(config["training"]["losses"])
    optimizer = build_optimizer(config["training"]["optimizer"] | {"lr": 1e-4, "adam_lr": 1e-4}, potential)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        prediction = potential(graph_from_batch(batch, potential.dtype))
        losses(prediction, batch, atoms_per_structure(batch), False)[0].backward()
        optimizer.step()

    return potential, step


def costs(config: Config, frames: list[AtomicData], count: int) -> None:
    """Prints time and memory of every rung."""
    steps = {name: trainer(config, model, frames)[1] for name, model in rungs(config).items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step(), step()
    for _ in range(count):
        for name, step in steps.items():
            times[name].append(cpu_seconds(step))
    print("| model | CPU of a step, ms | of short_range | memory, MiB | of short_range |\n|---|---|---|---|---|")
    rows = {name: (1e3 * statistics.median(times[name]), peak(step)) for name, step in steps.items()}
    first = rows["short_range"]
    for name, row in rows.items():
        cells = [f"{value:.0f} | {value / start:.2f}" for value, start in zip(row, first, strict=True)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def iterations(config: Config, frames: list[AtomicData], count: int) -> None:
    """Prints memory and time for each tolerance, with matrices that are never formed."""
    print("| tolerance | iterations | memory, MiB | CPU of a step, ms |\n|---|---|---|---|")
    for tolerance in TOLERANCES:
        model = changed(config["model"], dense_up_to=0, tolerance=tolerance)
        potential, step = trainer(config, model, frames)
        step()
        seconds = statistics.median([cpu_seconds(step) for _ in range(max(count // 5, 1))])
        row = f"{made(potential, frames):.0f} | {peak(step):.1f} | {1e3 * seconds:.0f}"
        print(f"| {tolerance:.0e} | {row} |", flush=True)


def made(potential: Potential, frames: list[AtomicData]) -> float:
    """Iterations of a first solve."""
    batch = collate([add_neighbours(frame.clone(), potential.neighbour_lists) for frame in frames])
    prediction = potential(graph_from_batch(batch, potential.dtype), forces=False)
    return float(prediction["induction_iterations"].max())


def cpu_seconds(function: Step) -> float:
    """Of this process."""
    begun = time.process_time()
    function()
    return time.process_time() - begun


def peak(function: Step) -> float:
    """The most memory in MiB that tensors take at once while this runs, beyond what they take before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        function()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        record.export_chrome_trace(str(file))
        events = json.loads(file.read_text())["traceEvents"]
    events = sorted((event for event in events if event.get("name") == "[memory]"), key=lambda event: event["ts"])
    held, most = 0, 0
    for event in events:
        held += event["args"]["Bytes"]
        most = max(most, held)
    return most / 2**20


if __name__ == "__main__":
    main()
