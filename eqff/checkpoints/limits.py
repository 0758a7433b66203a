"""A build that stays within what a model file can account for, whatever numbers its config holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from eqff.errors import ModelFileError

LARGEST_INTEGER = 2**16
"""In a model's config: channels, degrees and numbers of passes are far below."""
LARGEST_CUTOFF = 1000.0
"""Å; a neighbour list beyond this would never be done."""
_CONSTANTS = 2**22  # numbers that one constant (a quadrature, a coupling matrix) may have, whatever the weights are
_OPERATIONS = 2000  # tensor operations that a build may take, besides those for each stored tensor
_OPERATIONS_PER_TENSOR = 50


def check_integers(config: Any, place: str) -> None:
    """Refuses integers that no model has, before anything is sized or looped by them.

    Args:
        config: Nested mappings and lists.
        place: The file and where in it this stands, for messages.

    Raises:
        ModelFileError: Names the setting.
    """
    for key, value in _leaves(config):
        if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            raise ModelFileError(
                f"{place}{key} is {str(value)[:20]}; no model has more than {LARGEST_INTEGER}. The file is damaged or "
                "forged: take it from its source again."
            )


def check_cutoffs(lists: Mapping[str, float], place: str) -> None:
    """Raises ModelFileError if a neighbour list (name to cutoff in Å) reaches farther than any model's."""
    for name, cutoff in lists.items():
        if not (0 < cutoff <= LARGEST_CUTOFF or cutoff == float("inf")):  # infinite: all pairs of open structures
            raise ModelFileError(
                f"{place} asks for a neighbour list '{name}' of {cutoff:.4g} Å, which is not between 0 and "
                f"{LARGEST_CUTOFF:g}. The file is damaged or forged: take it from its source again."
            )


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, f"{key}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{key}[{index}]")
    else:
        yield key, value


class BuildLimits(TorchDispatchMode):
    """While active, refuses tensors and loops that are out of proportion to the weights of a file.

    A config that asks for a billion channels is so refused by the first large tensor, before it is allocated: the size
    of every result is found out on PyTorch's meta device, which has no memory.

    Args:
        stored: Numbers in all tensors of the file.
        tensors: How many tensors there are.
        place: The file, for messages.
    """

    def __init__(self, stored: int, tensors: int, place: str):
        super().__init__()
        self.place = place
        self.largest = max(_CONSTANTS, 8 * stored)
        self.numbers_left = 16 * self.largest
        self.operations_left = _OPERATIONS + _OPERATIONS_PER_TENSOR * tensors

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Every tensor operation of the build comes through here."""
        kwargs = dict(kwargs or {})
        size = _result_size(func, args, kwargs)
        self.operations_left -= 1
        self.numbers_left -= size
        if size > self.largest or self.numbers_left < 0 or self.operations_left < 0:
            raise ModelFileError(
                f"{self.place} asks for a model that is far larger than its weights: the config does not belong to "
                "them. The file is damaged or forged: take it from its source again."
            )
        return func(*args, **kwargs)


def _result_size(func: Any, args: tuple, kwargs: dict[str, Any]) -> int:
    """How many numbers an operation is about to allocate; 0 where it works in place or can't be told."""
    if func._schema.is_mutable:
        return 0
    if "device" in {argument.name for argument in func._schema.arguments}:
        kwargs = kwargs | {"device": "meta"}
    try:
        shadow_args, shadow_kwargs = tree_map_only(Tensor, _shadow, (args, kwargs))
        result = func(*shadow_args, **shadow_kwargs)
    except (NotImplementedError, RuntimeError, TypeError, ValueError):
        return 0  # no shape function: such operations don't grow their inputs
    results = result if isinstance(result, (tuple, list)) else [result]
    return max((found.numel() for found in results if isinstance(found, Tensor)), default=0)


def _shadow(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, device="meta")
