"""What happened in the last steps, kept on the device and read once per row: reading each step would cost time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from eqff.training.throughput import Throughput


class Window:
    """Losses, gradient norms and throughput of the steps since the last row of metrics.

    Attributes:
        throughput: Counted by whoever sees batches come and steps end.
    """

    def __init__(self):
        self._values: dict[str, list[Tensor]] = {}
        self.throughput = Throughput()

    def add(self, values: Mapping[str, Tensor]) -> None:
        """One step's scalars, detached."""
        for name, value in values.items():
            self._values.setdefault(name, []).append(value)

    def add_gradient_norm(self, norm: Tensor) -> None:
        """The norm of all gradients before clipping."""
        self._values.setdefault("gradient_norm", []).append(norm)

    def ago(self, name: str) -> int:
        """How many steps before the newest one values of this name were NaN or infinite for the first time."""
        values = self._values.get(name, [])
        bad = [] if not values else (~_stack(values).isfinite()).nonzero().flatten().tolist()
        return len(values) - 1 - bad[0] if bad else 0

    def read(self, clip: float | None) -> dict[str, Any]:
        """Means over the window, the share of steps that were clipped, throughput; starts anew."""
        row = {name: _stack(values).mean().item() for name, values in self._values.items()}
        if "gradient_norm" in self._values and clip:
            row["clipped_share"] = (_stack(self._values["gradient_norm"]) > clip).double().mean().item()
        row |= self.throughput.read()
        self._values = {}
        self.throughput.clear()
        return row

    def restart_clock(self) -> None:
        """Leaves out of the throughput what was no training (validation)."""
        self.throughput.restart_clock()

    def state_dict(self) -> dict[str, Any]:
        """What has been gathered, for checkpoints: the row after a restart then is what it would have been."""
        values = {name: _stack(found).cpu() for name, found in self._values.items()}
        return {"values": values, "throughput": self.throughput.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on with what had been gathered."""
        self._values = {name: list(found.unbind()) for name, found in state["values"].items()}
        self.throughput.load_state_dict(state["throughput"])


def _stack(values: list[Tensor]) -> Tensor:
    """Scalars in one tensor on the newest one's device: those that a checkpoint brought are on the CPU."""
    return torch.stack([value.to(values[-1].device) for value in values])


def finite(value: Tensor) -> bool:
    """Whether a scalar is a finite number; waits for the device."""
    return math.isfinite(value.item())
