"""What the programs that start ranks from outside tell a process about its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lightning.pytorch.plugins.environments import SLURMEnvironment

from eqff.errors import ConfigError

_GENERAL = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Started:
    """One process among the ranks.

    Attributes:
        launcher: Who started it, for people.
        rank: Among all, from 0.
        local_rank: On its machine, from 0.
        node: Which machine, from 0.
        local_size: Ranks on each machine.
        num_nodes: Machines.
        address: Of the machine where ranks meet.
        port: There.
    """

    launcher: str
    rank: int
    local_rank: int
    node: int
    local_size: int
    num_nodes: int
    address: str
    port: int

    def variables(self) -> dict[str, str]:
        """The environment variables that torch and Lightning read all this from."""
        return {
            "RANK": str(self.rank),
            "LOCAL_RANK": str(self.local_rank),
            "GROUP_RANK": str(self.node),
            "WORLD_SIZE": str(self.local_size * self.num_nodes),
            "LOCAL_WORLD_SIZE": str(self.local_size),
            "MASTER_ADDR": self.address,
            "MASTER_PORT": str(self.port),
        }


def started_from_outside(environment: Mapping[str, str]) -> Started | None:
    """The place of a process that torchrun (or whoever sets the same variables) or srun has started; else None.

    A batch script of SLURM that calls the command without srun has one process, whatever the job's number of tasks.

    Raises:
        ConfigError: Machines with different numbers of processes.
    """
    if all(name in environment for name in _GENERAL):
        return _from_torchrun(environment)
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return _from_srun(environment)
    return None


def _from_torchrun(environment: Mapping[str, str]) -> Started:
    world = int(environment["WORLD_SIZE"])
    local = int(environment.get("LOCAL_WORLD_SIZE", world))
    rank = int(environment["RANK"])
    return Started(
        "torchrun",
        rank=rank,
        local_rank=int(environment["LOCAL_RANK"]),
        node=int(environment.get("GROUP_RANK", rank // local)),
        local_size=local,
        num_nodes=_machines(world, local, "torchrun"),
        address=environment["MASTER_ADDR"],
        port=int(environment["MASTER_PORT"]),
    )


def _from_srun(environment: Mapping[str, str]) -> Started:
    world = int(environment["SLURM_STEP_NUM_TASKS"])
    nodes = int(environment.get("SLURM_STEP_NUM_NODES", "1"))
    job, step = int(environment.get("SLURM_JOB_ID", "0")), int(environment.get("SLURM_STEP_ID", "0"))
    names = environment.get("SLURM_STEP_NODELIST", environment.get("SLURM_JOB_NODELIST", "127.0.0.1"))
    return Started(
        "srun",
        rank=int(environment["SLURM_PROCID"]),
        local_rank=int(environment["SLURM_LOCALID"]),
        node=int(environment["SLURM_NODEID"]),
        local_size=_machines(world, nodes, "srun"),
        num_nodes=nodes,
        address=environment.get("MASTER_ADDR") or SLURMEnvironment.resolve_root_node_address(names),
        # every rank must come to the same one, two steps of a job not
        port=int(environment.get("MASTER_PORT", 20000 + (job + 1000 * step) % 10000)),
    )


def _machines(world: int, part: int, launcher: str) -> int:
    if world % part:
        raise ConfigError(f"{launcher} has started {world} processes: every machine must have the same number of them.")
    return world // part
