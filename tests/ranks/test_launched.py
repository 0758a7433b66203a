"""Trainings whose ranks torchrun or srun has started, on one machine and as on two: what one process does."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from eqff.tracking.metric_files import read_metrics

pytestmark = pytest.mark.slow

OWN = ("time", "cpu_seconds", "wall_seconds", "per_second", "wait_share", "memory")
"""Columns that are not about what is learned."""
TRAIN = ["-m", "eqff.train"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Molecules of 2 to 12 atoms."""
    frames = []
    for index in range(22):
        atoms = molecule(("H2O", "CH4", "C2H6", "C6H6")[index % 4])
        rng = np.random.default_rng(index)
        atoms.rattle(0.05, seed=index)
        atoms.info.update(total_charge=0, multiplicity=1)
        atoms.calc = SinglePointCalculator(atoms, energy=rng.normal(), forces=rng.normal(size=(len(atoms), 3)))
        frames.append(atoms)
    path = tmp_path_factory.mktemp("data") / "molecules.extxyz"
    write(path, frames)
    return path


def settings(data, output):
    """Batches bounded by pairs, of which two make a step."""
    return [
        f"data.path={data}",
        f"output={output}",
        "model=minimal",
        "tracking=none",
        "figures=false",
        "dtype=float64",
        "trainer.accelerator=cpu",
        "trainer.log_every_n_steps=1",
        "trainer.enable_progress_bar=false",
        "trainer.max_epochs=4",
        "trainer.accumulate_grad_batches=2",
        "data.split.val=4",
        "data.batch_by=edges",
        "data.batch_size=300",
    ]


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone") / "run"
    wait([start([sys.executable, *TRAIN, *settings(data, folder)])])
    return folder


def start(arguments, **variables):
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait(processes):
    texts = [process.communicate(timeout=1200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(texts)
    return texts


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def torchrun(data, output, nodes, each):
    """The agents of all machines, which meet on this one."""
    meeting = [f"--rdzv-endpoint=127.0.0.1:{free_port()}", "--rdzv-backend=c10d", "--local-addr=127.0.0.1"]
    counts = [f"--nnodes={nodes}", f"--nproc-per-node={each}"]
    command = [sys.executable, "-m", "torch.distributed.run", *counts, *meeting, *TRAIN, *settings(data, output)]
    return [start(command) for _ in range(nodes)]


def srun(data, output, nodes, each):
    """All processes with the variables that they would see."""
    common = {"SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "localhost", "MASTER_PORT": str(free_port())}
    common |= {"SLURM_STEP_NUM_TASKS": str(nodes * each), "SLURM_STEP_NUM_NODES": str(nodes)}
    command = [sys.executable, *TRAIN, *settings(data, output)]
    places = [{"SLURM_PROCID": r, "SLURM_LOCALID": r % each, "SLURM_NODEID": r // each} for r in range(nodes * each)]
    return [start(command, **common, **{name: str(value) for name, value in place.items()}) for place in places]


@pytest.mark.parametrize("launch", [torchrun, srun])
@pytest.mark.parametrize(("nodes", "each"), [(1, 2), (2, 1)], ids=["one machine", "two machines"])
def test_rows_are_those_of_one_process(data, alone, tmp_path, launch, nodes, each):
    texts = wait(launch(data, tmp_path / "run", nodes, each))
    assert "".join(texts).count("Run folder:") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    rows, others = read_metrics(alone), read_metrics(tmp_path / "run")
    assert rows and [row["step"] for row in rows] == [row["step"] for row in others]
    for row, its in zip(rows, others, strict=True):
        names = [name for name in row if not any(part in name for part in OWN)]
        assert {n: row[n] for n in names} == pytest.approx({n: its[n] for n in names}, rel=1e-9)
