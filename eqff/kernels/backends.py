"""What runs fused operations: one backend for each kind of device, and this is the place that says which.

A backend is a package of modules whose functions write results into tensors that are made for them:

    messages    run(what, edges, given, features, arrays), edge_order(receiver, sender, *found) -> bool
    bilinear    run(couplings, x, y, axes, out)
    products    takes(plan, channels, dtype) -> bool, run(plan, name, read, written)

They are called under `torch.autograd.Function`s and operations (`capture.operation`) that all devices share, with
contiguous tensors of one device and one of `choice.DTYPES` that were checked to fit together; `eqff.kernels.cpp` is the
shortest example of each. A module is imported when the first tensor of its device comes to its operation, so what a
backend imports costs nobody else. `available` is asked before any of it and says why not in one log line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType

from torch import Tensor

from eqff.kernels.library import library


@dataclass(frozen=True)
class Backend:
    """Implementations of the fused operations for one kind of device.

    Attributes:
        name: For messages.
        package: Of its modules.
        available: Whether it can run on this machine.
    """

    name: str
    package: str
    available: Callable[[], bool]


def _triton_available() -> bool:
    from eqff.kernels.triton.probe import available

    return available()


BACKENDS = {
    "cpu": Backend("C++", "eqff.kernels.cpp", lambda: library() is not None),
    "cuda": Backend("Triton", "eqff.kernels.triton", _triton_available),  # PyTorch calls AMD's GPUs so as well
}
"""By `torch.device.type`."""


def backend_of(tensor: Tensor) -> Backend | None:
    """For tensors on this one's device; None where there is none."""
    return BACKENDS.get(tensor.device.type)


def implementation(tensor: Tensor, operation: str) -> ModuleType:
    """The module that runs an operation on this tensor's device, see above; only where `choice.fused` said yes."""
    return _module(BACKENDS[tensor.device.type].package, operation)


@cache
def _module(package: str, operation: str) -> ModuleType:
    return import_module(f"{package}.{operation}")
