"""The tensors inside of bound sums, taken out and put back: rules for derivatives have to name what they depend on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from torch import Tensor

Nested = TypeVar("Nested")


def differentiable_tensors(value: Any) -> list[Tensor]:
    """Tensors with derivatives in dataclasses and tuples within each other, in the order of their fields."""
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        if tensor.requires_grad:
            found.append(tensor)
        return tensor

    _mapped(value, note)
    return found


def with_tensors(value: Nested, tensors: Sequence[Tensor]) -> Nested:
    """The same with other tensors in the places of those that `differentiable_tensors` finds."""
    rest = iter(tensors)
    return _mapped(value, lambda tensor: next(rest) if tensor.requires_grad else tensor)


def _mapped(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple):
        return tuple(_mapped(item, function) for item in value)
    if is_dataclass(value):
        return replace(value, **{f.name: _mapped(getattr(value, f.name), function) for f in fields(value)})
    return value
