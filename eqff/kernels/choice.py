"""Whether fused or plain operations run: what the user chose, and what the tensors and the surroundings allow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType

import torch
from torch import Tensor
from torch.autograd import forward_ad

from eqff.errors import ConfigError, did_you_mean
from eqff.kernels.backends import ACCELERATORS, BACKENDS, Backend
from eqff.kernels.capture import capturing

CHOICES = ("auto", "plain", "fused", *ACCELERATORS)
DTYPES = {torch.float32: "f32", torch.float64: "f64"}


def checked(name: str) -> str:
    """A name from `CHOICES`.

    Raises:
        ConfigError: It is none, or asks for what no device here can run. Where there is a GPU, `fused` asks for what
            the device of each tensor needs and no more.
    """
    if name not in CHOICES:
        raise ConfigError(f"EQFF_KERNELS is '{name}'.{did_you_mean(name, CHOICES)}")
    if name == "fused" and not torch.cuda.is_available() and not BACKENDS["cpu"].available():
        raise ConfigError("EQFF_KERNELS is 'fused', but they could not be compiled here; see the log, or use 'auto'.")
    accelerators = tuple(ACCELERATORS.get(name, {}).values())
    if accelerators and not any(accelerator.available() for accelerator in accelerators):
        raise _does_not_run(name, accelerators[0])
    return name


def _does_not_run(name: str, backend: Backend) -> ConfigError:
    return ConfigError(f"EQFF_KERNELS is '{name}', but {backend.name} does not run here. {backend.remedy}")


_FROM_ENVIRONMENT = checked(os.environ.get("EQFF_KERNELS", "auto"))
_chosen: ContextVar[str] = ContextVar("kernels", default=_FROM_ENVIRONMENT)


@contextmanager
def kernels(name: str) -> Iterator[None]:
    """Within it, operations run as ``EQFF_KERNELS=name`` would have them, whatever it says.

    On a GPU PyTorch differentiates in threads of its own, which go by ``EQFF_KERNELS`` where operations that more than
    one backend has are differentiated.
    """
    token = _chosen.set(checked(name))
    try:
        yield
    finally:
        _chosen.reset(token)


def eager(*tensors: Tensor | None) -> bool:
    """Whether operations run one by one on plain tensors of one precision.

    Not so where they are traced, compiled, exported, transformed, counted, differentiated forwards, or cast to half
    precision on their way.

    Args:
        tensors: Cotangents, which may stand for many at once (``is_grads_batched``).
    """
    try:
        return not (
            torch.compiler.is_compiling()
            or torch._C._len_torch_dispatch_stack()
            or torch._C._functorch.peek_interpreter_stack() is not None
            or torch._C._get_tracing_state() is not None
            or torch._C._is_any_autocast_enabled()
            or forward_ad._current_level >= 0
            or any(torch._C._functorch.is_legacy_batchedtensor(value) for value in tensors if value is not None)
        )
    except AttributeError:  # these are PyTorch's own and may go: plain operations can be all of it
        return False


def own_derivatives(*cotangents: Tensor | None) -> bool:
    """Whether operations' own rules may differentiate: where they run, or are captured as nodes of a graph."""
    return capturing() or eager(*cotangents)


def own_rules() -> bool:
    """Whether operations with derivatives of their own may run, on any device."""
    # asked in this order, as a compiler can't follow a choice
    return not torch.compiler.is_compiling() and (capturing() or eager()) and _chosen.get() != "plain"


def fused(tensor: Tensor) -> bool:
    """Whether fused operations work on tensors like this one, and may.

    Raises:
        ConfigError: They must (``EQFF_KERNELS=fused``, or published kernels are named), and do not run on its device.
    """
    backend = BACKENDS.get(tensor.device.type)
    if backend is None or tensor.dtype not in DTYPES or not own_rules():
        return False
    accelerator, name = _accelerator(tensor), _chosen.get()
    for needed in (backend, accelerator):
        if needed is not None and not needed.available():
            if name == "fused" or accelerator is not None:
                raise _does_not_run(name, needed)
            return False
    return True


def implementation(tensor: Tensor, operation: str) -> ModuleType:
    """The module that runs an operation on this tensor's device, see `backends`; only where `fused` said yes."""
    accelerator = _accelerator(tensor)
    if accelerator is not None and operation in accelerator.operations:
        return accelerator.module(operation)
    return BACKENDS[tensor.device.type].module(operation)


def _accelerator(tensor: Tensor) -> Backend | None:
    """The published kernels that are chosen, where there are some for this tensor's device."""
    by_device = ACCELERATORS.get(_chosen.get())
    return None if by_device is None else by_device.get(tensor.device.type)
