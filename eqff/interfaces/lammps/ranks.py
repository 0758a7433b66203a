"""Atoms that LAMMPS spreads over several processes, put together on the first of them, and what that one found out."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from eqff.errors import ConfigError

Part = TypeVar("Part")


class Ranks(Protocol):
    """The processes of one run of LAMMPS.

    Attributes:
        first: Whether this process is the one that computes.
    """

    first: bool

    def gather(self, part: Part) -> list[Part] | None:
        """The parts of all processes on the first one, None on others."""

    def share(self, found: Part) -> Part:
        """What the first process has, on all of them."""


class Alone:
    """One process."""

    first = True

    def gather(self, part: Part) -> list[Part] | None:
        """See `Ranks.gather`."""
        return [part]

    def share(self, found: Part) -> Part:
        """See `Ranks.share`."""
        return found


class Together:
    """Several processes.

    Args:
        comm: LAMMPS' communicator, of mpi4py.
    """

    def __init__(self, comm: Any):
        self._comm = comm
        self.first = comm.Get_rank() == 0

    def gather(self, part: Part) -> list[Part] | None:
        """See `Ranks.gather`."""
        return self._comm.gather(part, root=0)

    def share(self, found: Part) -> Part:
        """See `Ranks.share`."""
        return self._comm.bcast(found, root=0)


def ranks_of(lmp: Any) -> Ranks:
    """The processes that an instance of LAMMPS runs on.

    Raises:
        ConfigError: They are several, and can't be talked to.
    """
    count = lmp.extract_setting("world_size")
    if count == 1:
        return Alone()
    comm = lmp.get_mpi_comm()
    if comm is None:
        raise ConfigError(
            f"LAMMPS runs on {count} processes, whose atoms have to be put together, and that needs mpi4py, built for "
            "the MPI library of LAMMPS: pip install mpi4py. Or run one process; the model is computed by one anyway."
        )
    return Together(comm)
