"""What the machine can do at most: floating-point operations of matrix products, and bytes from memory, per second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Ceilings:
    """Attributes:
    flops: Of products of large float32 matrices, 1/s.
    bandwidth: Of a = b + s c over arrays far larger than the caches, bytes/s (two read, one written).
    """

    flops: float
    bandwidth: float

    def seconds(self, flops: float, moved: float) -> float:
        """What work takes at least."""
        return max(flops / self.flops, moved / self.bandwidth)

    def binding(self, flops: float, moved: float) -> str:
        """Which ceiling that is."""
        return "arithmetic" if flops / self.flops > moved / self.bandwidth else "memory"

    def __str__(self) -> str:
        return f"{self.flops / 1e9:.4g} GFLOP/s in matrix products, {self.bandwidth / 1e9:.4g} GB/s from memory"


def seconds_of(function: Callable[[], object], device: str, budget: float = 0.5, fewest: int = 3) -> float:
    """The shortest of several runs, after one that does not count: CPU time on one thread, else wall time."""
    wait = torch.cuda.synchronize if device != "cpu" else (lambda: None)
    threads = torch.get_num_threads()

    def now() -> float:
        wait()
        return time.perf_counter() if device != "cpu" or threads > 1 else time.process_time()

    function()
    best, runs, end = float("inf"), 0, time.perf_counter() + budget
    while runs < fewest or time.perf_counter() < end:
        start = now()
        function()
        best, runs = min(best, now() - start), runs + 1
    return best


def measure(device: str = "cpu", size: int | None = None, numbers: int | None = None) -> Ceilings:
    """Measures both.

    Args:
        device: "cpu" or "cuda".
        size: Of the square matrices.
        numbers: In each of the three arrays.
    """
    size = size or (1024 if device == "cpu" else 8192)
    numbers = numbers or (2**25 if device == "cpu" else 2**28)
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    out = torch.empty_like(a)
    flops = 2 * size**3 / seconds_of(lambda: torch.mm(a, b, out=out), device)
    b, c = (torch.ones(numbers, device=device) for _ in range(2))
    a = torch.empty_like(b)
    bandwidth = 3 * 4 * numbers / seconds_of(lambda: torch.add(b, c, alpha=3.0, out=a), device)
    return Ceilings(flops, bandwidth)
