"""What runs fused operations: one backend for each kind of device, and this is the place that says which.

A backend is a package of modules whose functions write results into tensors that are made for them:

    messages    run(what, edges, given, features, arrays), edge_order(receiver, sender, *found) -> bool
    bilinear    run(couplings, x, y, axes, out)
    products    takes(plan, channels, dtype) -> bool, run(plan, name, read, written)

They are called under `torch.autograd.Function`s and operations (`capture.operation`) that all devices share, with
contiguous tensors of one device and one of `choice.DTYPES` that were checked to fit together; `eqff.kernels.cpp` is the
shortest example of each. A module is imported when the first tensor of its device comes to its operation, so what a
backend imports costs nobody else. `available` is asked before any of it and says why not in one log line.

Published kernels take the place of some operations of a device's own backend, where the setting names them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType

from eqff.kernels.library import library


@dataclass(frozen=True)
class Backend:
    """Implementations of the fused operations for one kind of device.

    Attributes:
        name: For messages.
        package: Of its modules.
        available: Whether it can run on this machine.
        operations: That it has.
        remedy: Where it can't run though it must.
    """

    name: str
    package: str
    available: Callable[[], bool]
    operations: tuple[str, ...] = ("messages", "bilinear", "products")
    remedy: str = "See the log, or use 'auto'."

    def module(self, operation: str) -> ModuleType:
        """What runs an operation."""
        return _module(self.package, operation)


def _triton_available() -> bool:
    from eqff.kernels.triton.probe import available

    return available()


def _cuequivariance_available() -> bool:
    from eqff.kernels.cuequivariance.probe import available

    return available()


BACKENDS = {
    "cpu": Backend("C++", "eqff.kernels.cpp", lambda: library() is not None),
    "cuda": Backend("Triton", "eqff.kernels.triton", _triton_available),  # PyTorch calls AMD's GPUs so as well
}
"""By `torch.device.type`."""

ACCELERATORS = {
    "cuequivariance": {
        "cuda": Backend(
            *("cuEquivariance", "eqff.kernels.cuequivariance", _cuequivariance_available, ("messages",)),
            remedy="It needs an NVIDIA GPU, pip install 'eqff[cuequivariance]' and NVIDIA's kernels, "
            "cuequivariance-ops-torch-cu12 or -cu13; see docs/kernels.md, or use 'auto'.",
        )
    }
}
"""Published kernels, by the setting's value and by `torch.device.type`."""


@cache
def _module(package: str, operation: str) -> ModuleType:
    return import_module(f"{package}.{operation}")
