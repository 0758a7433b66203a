"""What happened in the last steps, kept on the device and read once per row: reading each step would cost time."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class Window:
    """Losses, gradient norms and throughput of the steps since the last row of metrics."""

    def __init__(self):
        self._clear()

    def _clear(self) -> None:
        self._values: dict[str, list[Tensor]] = {}
        self._structures = 0
        self._started = time.perf_counter()

    def add(self, values: Mapping[str, Tensor], structures: int) -> None:
        """One step's scalars, detached, and its number of structures."""
        for name, value in values.items():
            self._values.setdefault(name, []).append(value)
        self._structures += structures

    def add_gradient_norm(self, norm: Tensor) -> None:
        """The norm of all gradients before clipping."""
        self._values.setdefault("gradient_norm", []).append(norm)

    def read(self, clip: float | None) -> dict[str, Any]:
        """Means over the window, the share of steps that were clipped, structures per second; starts anew."""
        row = {name: torch.stack(values).mean().item() for name, values in self._values.items()}
        if "gradient_norm" in self._values and clip:
            row["clipped_share"] = (torch.stack(self._values["gradient_norm"]) > clip).double().mean().item()
        row["structures_per_second"] = self._structures / max(time.perf_counter() - self._started, 1e-9)
        self._clear()
        return row

    def restart_clock(self) -> None:
        """Leaves out of the throughput what was no training (validation)."""
        self._clear()


def finite(value: Tensor) -> bool:
    """Whether a scalar is a finite number; waits for the device."""
    return math.isfinite(value.item())
