"""What ranks say to each other. Alone, every function here is what it is for one process, and costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from eqff.errors import EqffError, TrainingError

T = TypeVar("T")


class FailedElsewhere(EqffError):
    """Another rank has failed and tells why; this one ends without a word."""


class ConnectionLost(EqffError):
    """Another rank has ended without a word, or before it could be heard."""


def world_size() -> int:
    """How many ranks there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def is_first() -> bool:
    """Whether this is the rank that writes, prints and tracks."""
    return rank() == 0


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, to the bit the same on each; the tensor itself when alone.

    Args:
        values: Of one shape on all ranks, without gradient, on the CPU or on the rank's device.
    """
    if world_size() == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total


def add_over_ranks(row: MutableMapping[str, float], names: Sequence[str]) -> None:
    """Replaces each named number by its sum over all ranks; zero is added where one has none. All must take part."""
    if world_size() > 1:
        sums = sum_over_ranks(torch.tensor([row.get(name, 0.0) for name in names], dtype=torch.float64)).tolist()
        row.update(zip(names, sums, strict=True))


def gather(value: T) -> list[T]:
    """The plain value of every rank, in their order. All ranks must take part."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


@contextmanager
def together() -> Iterator[None]:
    """All ranks get through the block, or none: a failure on one is a failure of all, told by one.

    Nothing in the block may wait for other ranks. All ranks must enter it.

    Raises:
        FailedElsewhere: An earlier rank failed; that one raises its own error.
    """
    try:
        yield
    except Exception as error:
        fail_together(f"{type(error).__name__}: {error}")
        raise
    fail_together(None)


def fail_together(message: str | None) -> None:
    """Returns on the first rank with a message, or on all if none has one; see `together`.

    Raises:
        FailedElsewhere: On every other rank, when one has a message.
    """
    failed = [index for index, other in enumerate(gather(message)) if other is not None]
    if failed and failed[0] != rank():
        raise FailedElsewhere(f"Rank {failed[0]} failed.")


def raise_together(message: str | None, otherwise: str) -> NoReturn:
    """Ends a training on all ranks, with the message of the first rank that has one. All ranks must call it.

    Args:
        message: What this rank has to say; None if the fault is another one's.
        otherwise: What is said if none has.

    Raises:
        TrainingError: With the message.
        FailedElsewhere: On the other ranks.
    """
    fail_together(message)
    raise TrainingError(message or otherwise)


def from_first(make: Callable[[], T]) -> T:
    """What a function returns on the first rank, where alone it runs; a failure there is a failure of all.

    Args:
        make: Gives something that can be pickled.
    """
    value = None
    with together():
        if is_first():
            value = make()
    return gather(value)[0]


def require_same(value: Any, message: str, error: type[EqffError]) -> None:
    """Raises ``error(message)`` on the first rank, and `FailedElsewhere` on others, unless all ranks have one value."""
    if len(set(gather(value))) > 1:
        fail_together(message)
        raise error(message)
