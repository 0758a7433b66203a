"""Entering and leaving the group of ranks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from eqff.ranks.group import ConnectionLost, FailedElsewhere, is_first
from eqff.ranks.layout import Layout


@contextmanager
def membership(layout: Layout, store: dist.Store | None = None) -> Iterator[None]:
    """Makes this process a rank while the block runs; nothing for a single process.

    Only the first rank writes to standard output. A rank that ends because another one has failed exits with code 1 and
    without a word.

    Args:
        layout: With this process's place in it.
        store: Where ranks meet; by default that of the launcher's address.

    Raises:
        ConnectionLost: Another rank has ended without telling why.
    """
    if layout.started is None:
        yield
        return
    place = layout.started
    os.environ.update(place.variables())
    _share_cores(layout.local_size)
    backend = "gloo"
    if layout.accelerator == "cuda":
        index = layout.devices[place.local_rank] if isinstance(layout.devices, list) else place.local_rank
        torch.cuda.set_device(index)
        backend = "cpu:gloo,cuda:nccl"  # decisions are taken on the CPU, without waiting for the GPU
    where = {"store": store} if store is not None else {"init_method": "env://"}
    dist.init_process_group(backend, rank=place.rank, world_size=layout.world_size, **where)
    output = sys.stdout
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            sys.stdout = output if is_first() else nowhere
            yield
    except FailedElsewhere:
        sys.exit(1)
    except RuntimeError as error:
        if not _is_lost(error):
            raise
        raise ConnectionLost(
            f"Rank {place.rank} has lost its connection to another one, which has ended. If that one says no more, "
            "it was killed: look into the system's log for a lack of memory. The last state that was saved is "
            "untouched; go on from it with resume=RUN_FOLDER."
        ) from error
    finally:
        sys.stdout = output
        # not after a failure: others may be waiting for this rank, and closing in order would wait for them
        if sys.exc_info()[0] is None and dist.is_initialized():
            dist.destroy_process_group()


def _is_lost(error: RuntimeError) -> bool:
    """Whether an error is one of talking to other ranks; gloo's are told from others by their text alone."""
    return isinstance(error, dist.DistError) or "gloo/transport" in str(error)


def _share_cores(local_size: int) -> None:
    """Threads of torch: an equal share of the cores, unless the user has chosen a number (OMP_NUM_THREADS)."""
    if "OMP_NUM_THREADS" not in os.environ:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(max(1, cores // local_size))
