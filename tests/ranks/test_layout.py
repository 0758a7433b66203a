"""Who the ranks are: from the config, from torchrun, from srun; contradictions are refused."""

import pytest
import torch

from eqff.errors import ConfigError
from eqff.ranks.layout import Layout

TRAINER = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto"}
TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "GROUP_RANK": "1",
    "MASTER_ADDR": "node0",
    "MASTER_PORT": "29500",
}
SRUN = {
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_JOB_ID": "123456",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
}


def layout(environment=None, **trainer):
    return Layout.of(TRAINER | trainer, environment or {})


def test_one_process_is_the_default():
    one = layout()
    assert (one.world_size, one.starts_ranks, one.ddp) == (1, False, False)
    assert layout(strategy="ddp").ddp


@pytest.mark.parametrize("devices", [2, "2"])
def test_several_are_started_here(devices):
    two = layout(devices=devices)
    assert (two.world_size, two.starts_ranks, two.ddp) == (2, True, True)


@pytest.mark.parametrize("environment", [TORCHRUN, SRUN])
@pytest.mark.parametrize("given", [{}, {"devices": 4, "num_nodes": 2}])
def test_place_given_by_a_launcher(environment, given):
    found = layout(environment, **given)
    place = found.started
    assert (found.local_size, found.num_nodes, found.world_size, found.starts_ranks) == (4, 2, 8, False)
    assert (place.rank, place.local_rank, place.node) == (5, 1, 1)
    assert place.variables()["WORLD_SIZE"] == "8"


def test_ranks_of_a_slurm_step_meet_on_its_first_machine():
    place = layout(SRUN).started
    assert place.address == "gpu07"
    assert place.port == layout(SRUN | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}).started.port
    assert place.port != layout(SRUN | {"SLURM_STEP_ID": "1"}).started.port


def test_a_batch_script_without_srun_is_one_process():
    """SLURM's variables of the job alone don't mean that there are other processes to wait for."""
    job = {"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "4", "SLURM_PROCID": "0", "SLURM_JOB_ID": "1"}
    assert layout(job, devices=4).starts_ranks


@pytest.mark.parametrize(
    ("environment", "trainer", "message"),
    [
        (None, {"strategy": "dpp"}, "Did you mean 'ddp'"),
        (None, {"strategy": "fsdp"}, "no 'fsdp'"),
        (None, {"devices": 0}, "devices can't be 0"),
        (None, {"devices": "two"}, "devices can't be 'two'"),
        (None, {"devices": 100_000}, "would only wait for each other"),
        (None, {"devices": [0, 1]}, r"devices can't be \[0, 1\]"),
        (None, {"num_nodes": 2, "devices": 4}, "torchrun --nnodes=2 --nproc-per-node=4"),
        (None, {"num_nodes": 0}, "whole number"),
        (TORCHRUN, {"devices": 2}, "torchrun has started 4 processes on each machine"),
        (SRUN, {"num_nodes": 4}, "srun has started 2 machines"),
        (TORCHRUN | {"WORLD_SIZE": "7"}, {}, "same number"),
        (None, {"accelerator": "mps", "devices": 2}, "cuda or cpu"),
    ],
)
def test_messages(environment, trainer, message):
    with pytest.raises(ConfigError, match=message):
        layout(environment, **trainer)


def test_more_gpus_than_there_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="sees 1 GPU"):
        layout(accelerator="cuda", devices=2)
    with pytest.raises(ConfigError, match="not --gpus-per-task"):
        layout(SRUN, accelerator="cuda")
    assert layout(accelerator="cuda", devices="auto").world_size == 1
