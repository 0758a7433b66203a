"""Shows a set of many small structures on disk: build, statistics, loading, against the speed of a training step.

    python tools/large_set.py --frames 1000000 --folder /tmp/large --processes 2

The set is the shipped one over and over, positions moved at random by 0.001 Å, as one HDF5 file. Memory is what belongs
to the processes alone (RssAnon of Linux): pages of mapped files are the system's, which drops them when it needs to.
"""

from __future__ import annotations

import argparse
import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import torch
from hydra import compose, initialize_config_dir

from eqff.build import build_potential
from eqff.config import config_directory
from eqff.data.graph import graph_from_batch
from eqff.data.module import AtomicDataModule
from eqff.data.reading import read_frames

SOURCE = "shipped:ions/train.extxyz.gz"
_UNITS = {"positions": "ang", "energy": "ev", "forces": "ev/ang"}


def write_set(path: Path, frames: int, seed: int = 0) -> None:
    """Writes the repeated set, one HDF5 group for each number of atoms."""
    rng, by_size = np.random.default_rng(seed), {}
    source = read_frames(SOURCE, labels=("energy", "forces"))
    for frame in source:
        by_size.setdefault(frame.num_nodes, []).append(frame)
    left = frames
    with h5py.File(path, "w") as file:
        for place, (size, same) in enumerate(sorted(by_size.items())):
            last = place == len(by_size) - 1
            count = left if last else round(frames * len(same) / len(source))
            left -= count
            group, chosen = file.create_group(f"atoms_{size:02d}"), np.arange(count) % len(same)
            for name in ("positions", "numbers", "energy", "forces", "total_charge", "multiplicity"):
                values = np.stack([frame[name].numpy() for frame in same])[chosen]
                values = values[:, 0] if values.shape[1:] == (1,) and name != "numbers" else values
                if name == "positions":
                    values = values + rng.normal(scale=1e-3, size=values.shape)
                group.create_dataset(name, data=values)
                if name in _UNITS:
                    group[name].attrs["units"] = _UNITS[name]


def anonymous_memory() -> int:
    """Bytes that belong to this process and its children alone."""
    total = 0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:  # it has just ended
            continue
        total += sum(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon"))
    return total


@contextmanager
def measured(name: str, results: dict[str, Any]) -> Iterator[None]:
    """Wall seconds and the largest memory of a stage."""
    done, peak = threading.Event(), [anonymous_memory()]

    def watch() -> None:
        while not done.wait(0.2):
            peak.append(anonymous_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.monotonic()
    try:
        yield
    finally:
        seconds = time.monotonic() - start
        done.set()
        watcher.join()
    results[name] = {"seconds": round(seconds, 1), "peak_MB": round(max(peak) / 1e6)}
    print(name, results[name], flush=True)


def load(data: AtomicDataModule, batches: int) -> dict[str, float]:
    """Structures per second of the training loader, and how memory grew from the first tenth of it to the end."""
    iterator = iter(data.train_dataloader())
    next(iterator)
    start, structures, memory = time.monotonic(), 0, []
    for number in range(batches):
        batch = next(iterator, None)
        if batch is None:
            break
        structures += batch.num_graphs
        if number % 100 == 0:
            memory.append(anonymous_memory() / 1e6)
    seconds = time.monotonic() - start
    early = memory[len(memory) // 10]
    return {"structures": structures, "per_second": round(structures / seconds), "grew_MB": round(max(memory) - early)}


def train(data: AtomicDataModule, model: dict[str, Any], steps: int) -> float:
    """Structures per second of training steps (energy, forces, and the gradient of both), loading left out."""
    potential = build_potential(model, data.context(), torch.float32)
    iterator = iter(data.train_dataloader())
    batches = [next(iterator) for _ in range(steps + 2)]
    for number, batch in enumerate(batches):
        if number == 2:
            start = time.monotonic()
        prediction = potential(graph_from_batch(batch, torch.float32), forces=True, create_graph=True)
        loss = (prediction["energy"] - batch.energy).square().mean() + (
            prediction["forces"] - batch.forces
        ).square().mean()
        loss.backward()
        potential.zero_grad()
    return sum(batch.num_graphs for batch in batches[2:]) / (time.monotonic() - start)


def main() -> None:
    """Runs all stages and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, required=True, help="where to; the file and the cache take about 2 GB")
    parser.add_argument("--processes", type=int, default=2, help="that build the cache")
    parser.add_argument("--batches", type=int, default=62_500, help="to load at most, of 16 structures")
    parser.add_argument("--keep", action="store_true", help="leave everything on disk")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.folder.mkdir(parents=True, exist_ok=True)
    source, cache, results = args.folder / "set.h5", args.folder / "cache", {"frames": args.frames}
    with initialize_config_dir(str(config_directory()), version_base="1.3"):
        model = compose("train", overrides=["data.path=x"]).model
    if not source.exists():
        write_set(source, args.frames)
    settings = {"split": {"val": 0.001}, "batch_size": 16, "cache_workers": args.processes}
    data = AtomicDataModule(str(source), cache=str(cache), **settings)
    with measured("build structures", results):
        data.reader.read(data.path)
    with measured("read: splits, checks, statistics, reference energies, hash", results):
        data.read()
    lists = build_potential(model, data.context(), torch.float32).neighbour_lists
    with measured(f"build neighbour lists {dict(lists)}", results):
        data.build_neighbours(lists)
    for workers in (0, 1):
        data.num_workers = workers
        with measured(f"load, num_workers={workers}", results):
            results[f"loader, num_workers={workers}"] = load(data, args.batches if workers == 0 else 3000)
    data.num_workers = 0
    results["training step, structures per second"] = round(train(data, model, 40))
    sizes = {file.name: file.stat().st_size for file in cache.rglob("*.npy")}
    results["disk_MB"] = {"source": source.stat().st_size // 10**6, "cache": sum(sizes.values()) // 10**6}
    print(json.dumps(results, indent=1))
    if not args.keep:
        shutil.rmtree(args.folder)


if __name__ == "__main__":
    main()
