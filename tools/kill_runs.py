"""Kills a training with -9 again and again, and shows that nothing is lost: python tools/kill_runs.py --kills 20

One training runs through; a second one with the same settings is killed at random moments and resumed each time. At the
end both must have the same weights, averages, optimizer and random state to the bit, the same best weights, the same
model, and the same rows of metrics: none lost, none doubled. Exits with 1 if they differ.

Most kills fall into training, where states are written several times a second, some into the start-up of a resumed run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEASURED = ("time", "cpu_seconds", "wall_seconds", "_per_second", "data_wait", "memory")
"""Parts of the names of columns that no two runs have in common."""

STARTUP_SHARE = 0.2
"""Of the kills, while a resumed run starts."""


@dataclass
class Kill:
    """What was found after one kill.

    Attributes:
        moment: "training" or "start-up".
        seconds: After training, or the process, began.
        row: Step of the last whole row of metrics.
        state: Step of the state to go on from.
        cut: Lines of metrics that were cut off.
        unfinished: Files that were being written.
    """

    moment: str
    seconds: float
    row: int
    state: int
    cut: int
    unfinished: int


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="how many (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--epochs", type=int, default=40, help="of 40 steps each (default 40)")
    parser.add_argument("--folder", type=Path, help="where to leave both runs (default: a temporary folder)")
    parser.add_argument("settings", nargs="*", metavar="SETTING=VALUE", help="of the training, as for eqff.train")
    options = parser.parse_args(arguments)
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
        return compare_runs(options.folder.resolve(), options)
    with tempfile.TemporaryDirectory(prefix="kill_runs_") as folder:
        return compare_runs(Path(folder), options)


def compare_runs(folder: Path, options: argparse.Namespace) -> int:
    """Trains both runs in a folder, prints how it went, and returns the exit code."""
    write_data(folder / "water.extxyz")
    whole, killed = folder / "whole", folder / "killed"
    command = training_command(folder / "water.extxyz", options.epochs, options.settings)
    began = time.monotonic()
    say(f"without a kill: {options.epochs} epochs ...")
    run([*command, f"output={whole}"])
    rows = read_rows(whole)
    training = rows[-1]["time"] - rows[0]["time"]
    say(f"  {rows[-1]['step']} steps, {len(rows)} rows of metrics, {training:.0f} s of training")
    kills = []
    # on average half of the training is done when the last kill comes, however fast the machine is then
    for kill in kill_again_and_again([*command, f"output={killed}"], killed, options, len(rows) / options.kills):
        kills.append(kill)
        say(f"  kill {len(kills):2d}: {describe(kill)}")
    say("left alone to its end ...")
    run(resume(killed))
    print(table(kills))
    faults = differences(whole, killed)
    for fault in faults:
        print(f"DIFFERENT: {fault}")
    if not faults:
        print(f"{len(kills)} kills: weights, averages, optimizer, random state, best weights and model are to the bit")
        print(
            f"those of the run without a kill; {len(rows)} rows of metrics in both, the same: none lost, none doubled."
        )
    print(f"({time.monotonic() - began:.0f} s)")
    return int(bool(faults) or len(kills) < options.kills)


def training_command(data: Path, epochs: int, settings: list[str]) -> list[str]:
    """A training of a tiny model with Muon, average, warm-up, decay and mid-epoch states."""
    own = ["model=minimal", "model.backbone.channels=8", "data.split.val=8", "data.batch_size=2", "tracking=none"]
    own += ["evaluate=false", "figures=false", "trainer.accelerator=cpu", "threads=1", "trainer.log_every_n_steps=5"]
    own += [f"data.path={data}", f"trainer.max_epochs={epochs}", "training.save_every_seconds=0.05"]
    return [sys.executable, "-m", "eqff.train", *own, *settings]


def resume(folder: Path) -> list[str]:
    """The command that goes on with a run."""
    return [sys.executable, "-m", "eqff.train", f"resume={folder}"]


def run(command: list[str]) -> None:
    """Runs a command to its end; its output is shown if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stdout}{done.stderr}")


def start(command: list[str]) -> subprocess.Popen[bytes]:
    """Starts a command with a process group of its own, so that its children are killed with it."""
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def kill_again_and_again(
    command: list[str], folder: Path, options: argparse.Namespace, longest: float
) -> Iterator[Kill]:
    """Starts, kills, resumes; yields what each kill has left. Ends early if the training does.

    Kills in training come after so many new rows at most (``longest``), and a moment.
    """
    chance = random.Random(options.seed)
    for number in range(options.kills):
        # before there is a first state there is nothing to resume
        in_training = number == 0 or chance.random() >= STARTUP_SHARE
        rows = chance.uniform(0.0, longest)
        pause = chance.uniform(0.0, 0.1) if in_training else chance.uniform(0.2, 6.0)
        before = written(folder)
        process = start(command)
        began = time.monotonic()
        if in_training:
            wait_until(lambda before=before: written(folder) not in (None, before), process)
            began, first = time.monotonic(), count_rows(folder)
            wait_until(lambda until=first + rows: count_rows(folder) >= until, process)
        time.sleep(pause)
        seconds = time.monotonic() - began
        if process.poll() is not None:
            error = process.stderr.read().decode() if process.returncode else "training came to its end"
            say(f"  no kill {number + 1}: {error}")
            return
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        command = resume(folder)
        yield found(folder, "training" if in_training else "start-up", seconds)


def wait_until(reached: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Also ends with the process."""
    while process.poll() is None and not reached():
        time.sleep(0.02)


def count_rows(folder: Path) -> int:
    """Whole lines of metrics."""
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def written(folder: Path) -> int | None:
    """Changes whenever a state is written; None before the first."""
    path = folder / "checkpoints" / "last.ckpt"
    return path.stat().st_mtime_ns if path.is_file() else None


def found(folder: Path, moment: str, seconds: float) -> Kill:
    """What is in a run's folder after a kill."""
    from eqff.tracking.run_folder import RunFolder
    from eqff.training.resuming import saved_state

    lines = (folder / "metrics.jsonl").read_text().split("\n")
    rows = read_rows(folder)
    unfinished = [path for path in folder.rglob(".*") if path.is_file()]
    state = saved_state(RunFolder(folder)).step
    return Kill(moment, seconds, rows[-1]["step"] if rows else 0, state, int(bool(lines[-1])), len(unfinished))


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """All whole rows of metrics."""
    from eqff.tracking.metric_files import read_metrics

    return read_metrics(folder)


def differences(whole: Path, killed: Path) -> list[str]:
    """In what two runs differ, for people; empty if they are the same."""
    import torch
    from safetensors.torch import load_file

    faults = []
    for name in ("last", "best"):
        one, other = (torch.load(f / "checkpoints" / f"{name}.ckpt", weights_only=True) for f in (whole, killed))
        for key in ("state_dict", "current_state_dict", "optimizer_states", "random_state", "global_step", "epoch"):
            faults += [] if same(one.get(key), other.get(key)) else [f"{key} of {name}.ckpt"]
    models = [load_file(folder / "model.safetensors") for folder in (whole, killed)]
    faults += [] if same(*models) else ["weights of model.safetensors"]
    tables = [[comparable(row) for row in read_rows(folder)] for folder in (whole, killed)]
    lost = [row for row in tables[0] if row not in tables[1]]
    more = [row for row in tables[1] if row not in tables[0]]
    faults += [f"{len(lost)} rows of metrics lost, first: {lost[0]}"] if lost else []
    faults += [f"{len(more)} rows of metrics too many, first: {more[0]}"] if more else []
    return faults + ([] if len(tables[0]) == len(tables[1]) or lost or more else ["rows of metrics doubled"])


def comparable(row: dict[str, Any]) -> str:
    """A row without what is measured about the machine."""
    return json.dumps({key: value for key, value in row.items() if not any(part in key for part in MEASURED)})


def same(one: Any, other: Any) -> bool:
    """Whether nested plain values and tensors are equal to the bit."""
    import torch

    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return one == other


def write_data(path: Path) -> None:
    """88 distorted water molecules in a harmonic well."""
    import numpy as np
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    rng = np.random.default_rng(0)
    rest, frames = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]]), []
    for _ in range(88):
        moved = rng.normal(scale=0.08, size=rest.shape)
        atoms = Atoms("OHH", positions=rest + moved, info={"total_charge": 0, "multiplicity": 1})
        atoms.calc = SinglePointCalculator(atoms, energy=-2000.0 + 10.0 * (moved**2).sum(), forces=-20.0 * moved)
        frames.append(atoms)
    write(path, frames)


def describe(kill: Kill) -> str:
    """For people."""
    again = kill.row - kill.state
    parts = [f"{kill.seconds:4.1f} s into {kill.moment:8s}  last row: step {kill.row:5d}  state: step {kill.state:5d}"]
    parts += [f"rows of {again} steps to write again"] if again > 0 else []
    parts += ["a line of metrics cut off"] if kill.cut else []
    parts += [f"{kill.unfinished} files unfinished"] if kill.unfinished else []
    return "  ".join(parts)


def table(kills: list[Kill]) -> str:
    """All kills, a row each."""
    lines = ["", "kill  moment    seconds  last row  state  rows ahead  line cut off  files unfinished"]
    for number, kill in enumerate(kills, start=1):
        ahead = "yes" if kill.row > kill.state else "no"
        cut = "yes" if kill.cut else "no"
        lines.append(
            f"{number:4d}  {kill.moment:8s}  {kill.seconds:7.2f}  {kill.row:8d}  {kill.state:5d}  {ahead:>10s}"
            f"  {cut:>12s}  {kill.unfinished:16d}"
        )
    return "\n".join(lines) + "\n"


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
