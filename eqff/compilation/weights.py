"""Parameters and buffers as arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Weights:
    """Parameters and buffers of a module, each once, taken from where its modules keep them at the moment.

    Args:
        module: Its modules don't change any more.
    """

    def __init__(self, module: nn.Module):
        self.names: list[str] = []
        self._places: list[tuple[dict[str, Any], str]] = []
        seen: set[int] = set()
        for prefix, part in module.named_modules():
            for kept in (part._parameters, part._buffers):
                for name, value in kept.items():
                    if value is not None and id(value) not in seen:
                        seen.add(id(value))
                        self.names.append(f"{prefix}.{name}" if prefix else name)
                        self._places.append((kept, name))

    @property
    def values(self) -> list[Tensor]:
        """What they are now."""
        return [kept[name] for kept, name in self._places]

    def bound(self, module: nn.Module, values: Sequence[Tensor]) -> Callable[..., Any]:
        """The module's function with other values in their places."""
        given = dict(zip(self.names, values, strict=True))
        return lambda *arguments: torch.func.functional_call(module, given, arguments)
