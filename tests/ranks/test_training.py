"""The command with two ranks: the rows of one process, one run folder; killed and gone on with, also by one process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from eqff.tracking.metric_files import read_metrics

pytestmark = pytest.mark.slow

OWN = ("time", "cpu_seconds", "wall_seconds", "per_second", "wait_share", "memory")
"""Columns that are not about what is learned."""
PATIENCE = 1200
"""Seconds until a process counts as hanging, on a machine that does other things too."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Molecules of 2 to 12 atoms; some without forces."""
    frames = []
    for index in range(26):
        atoms = molecule(("OH", "H2O", "CH4", "C2H6", "C6H6")[index % 5])
        rng = np.random.default_rng(index)
        atoms.rattle(0.05, seed=index)
        charge = -1 if len(atoms) == 2 else 0
        atoms.info.update(total_charge=charge, multiplicity=1)
        labels = {"energy": rng.normal(), "forces": rng.normal(size=(len(atoms), 3))}
        if index % 7 == 3:
            del labels["forces"]
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    path = tmp_path_factory.mktemp("data") / "molecules.extxyz"
    write(path, frames)
    return path


def command(*overrides):
    return [sys.executable, "-m", "eqff.train", *overrides]


def settings(data, output, *overrides):
    return command(
        f"data.path={data}",
        f"output={output}",
        "model=minimal",
        "tracking=none",
        "figures=false",
        "dtype=float64",
        "trainer.accelerator=cpu",
        "trainer.log_every_n_steps=1",
        "trainer.enable_progress_bar=false",
        "trainer.max_epochs=6",
        "data.split.val=5",
        "data.batch_size=5",
        "training.second_stage=0.5",
        *overrides,
    )


def run(arguments):
    return subprocess.run(arguments, capture_output=True, text=True, timeout=3600, check=False)


def assert_same_rows(one, other, rounding=1e-9):
    rows, others = read_metrics(one), read_metrics(other)
    assert [row["step"] for row in rows] == [row["step"] for row in others]
    for row, its in zip(rows, others, strict=True):
        names = [name for name in row if not any(part in name for part in OWN)]
        assert {n: row[n] for n in names} == pytest.approx({n: its[n] for n in names}, rel=rounding)


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition(), f"nothing has happened for {PATIENCE} s"


def children(process):
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [Path(f"/proc/{child}") for child in listed.read_text().split()]


def runs(place):
    """Whether the process is there and did not only leave its exit code."""
    try:
        return (place / "stat").read_text().rpartition(")")[2].split()[0] not in "XZ"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone") / "run"
    assert run(settings(data, folder)).returncode == 0
    return folder


@pytest.mark.parametrize(
    "overrides",
    [
        ["trainer.devices=2"],
        ["trainer.devices=2", "training.compile=true"],
    ],
    ids=["plain", "compiled"],
)
def test_rows_of_one_process_and_one_folder(data, alone, tmp_path, overrides):
    result = run(settings(data, tmp_path / "run", *overrides))
    assert result.returncode == 0, result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert result.stdout.count("Run folder:") == 1
    assert_same_rows(alone, tmp_path / "run")
    names = {path.name for path in alone.rglob("*")}
    assert names == {path.name for path in (tmp_path / "run").rglob("*")}


def test_batches_by_atoms(data, tmp_path):
    overrides = ["data.batch_by=atoms", "data.batch_size=40"]
    for name, devices in (("one", 1), ("two", 2)):
        assert run(settings(data, tmp_path / name, *overrides, f"trainer.devices={devices}")).returncode == 0
    assert_same_rows(tmp_path / "one", tmp_path / "two")


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="ranks end with their parent on Linux")
@pytest.mark.parametrize("devices", [2, 1])
def test_killed_and_gone_on_with(data, alone, tmp_path, devices):
    """kill -9 of the process that was started takes its ranks with it; any number of ranks can go on."""
    folder = tmp_path / "run"
    process = subprocess.Popen(
        settings(data, folder, "trainer.devices=2", "training.save_every_seconds=0.1"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: (folder / "checkpoints" / "last.ckpt").exists() or process.poll() is not None)
    ranks = children(process) if process.poll() is None else []
    process.kill()
    if process.wait() == 0:
        pytest.skip("was at its end before it could be killed")
    assert process.returncode == -signal.SIGKILL and len(ranks) >= 2
    wait_for(lambda: not any(map(runs, ranks)))  # nobody writes any more
    result = run(command(f"resume={folder}", f"trainer.devices={devices}"))
    assert result.returncode == 0, result.stderr
    assert_same_rows(alone, folder)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_stop_all_and_save(data, tmp_path, number, code):
    """Also one that comes during a validation or while a state is written: ranks are then in different places."""
    folder = tmp_path / "run"
    process = subprocess.Popen(
        settings(data, folder, "trainer.devices=2", "trainer.max_epochs=100000"),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: any("val/loss" in row for row in read_metrics(folder)) or process.poll() is not None)
    os.killpg(process.pid, number)  # as a terminal does
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert "is saved. To go on: " in output
    assert (folder / "checkpoints" / "last.ckpt").is_file()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.optimizer.lr=1e30", "training.optimizer.adam_lr=1e30"], "is not finite is"),
        (["data.path=nowhere.extxyz"], "nowhere.extxyz"),
    ],
)
def test_one_message_and_no_traceback(data, tmp_path, overrides, message):
    result = run(settings(data, tmp_path / "run", "trainer.devices=2", *overrides))
    assert result.returncode == 1
    assert result.stderr.count("eqff: ") == 1 and message in result.stderr
    assert "Traceback" not in result.stderr
