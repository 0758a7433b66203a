"""Fused operations as single nodes of captured graphs, so that a step compiled as a whole runs them too.

Eager code calls an operation as the function that it is. While `eqff.compilation` captures a step, the same call leaves
a node ``torch.ops.eqff.NAME`` in the graph, whose results have the sizes that `operation` was told. What is captured
holds its derivatives already: rules of derivatives run while it is, and call operations themselves.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from eqff.errors import ModelError

P = ParamSpec("P")
R = TypeVar("R")

_NAMESPACE = "eqff"
_defined = torch.library.Library(_NAMESPACE, "DEF")
_capturing: ContextVar[bool] = ContextVar("capturing", default=False)
_constants: dict[str, Constant] = {}


@contextmanager
def captured() -> Iterator[None]:
    """Within it, operations leave nodes in the graph that is captured."""
    token = _capturing.set(True)
    try:
        # threads of a GPU's own, in which rules of derivatives would run, don't know what this one is about
        with torch.autograd.set_multithreading_enabled(False):
            yield
    finally:
        _capturing.reset(token)


def capturing() -> bool:
    """Whether a step is being captured."""
    return _capturing.get()


@contextmanager
def with_numbers() -> Iterator[None]:
    """Within it tensors hold numbers and can take part in derivatives, whatever surrounds it (a step that is captured,
    PyTorch's inference mode): for tables that who first asks makes for all."""
    with _disable_current_modes(), torch.inference_mode(False):
        yield


class Constant:
    """Numbers that an operation takes beside its tensors; graphs, and files of compiled code, hold their digest.

    So a compiled graph finds the numbers it was made with or none, whatever process reads it. Numbers count up to
    rounding: other processors sum tables up in another order.

    Args:
        *numbers: Everything that the operation's result depends on: tensors and what `repr` tells apart.
    """

    def __init__(self, *numbers: Any):
        parts = [_rounded(value) if isinstance(value, Tensor) else repr(value).encode() for value in numbers]
        shapes = [repr(tuple(value.shape)).encode() for value in numbers if isinstance(value, Tensor)]
        self.digest = hashlib.sha256(b"|".join([*shapes, *parts])).hexdigest()[:32]


def _rounded(table: Tensor) -> bytes:
    # in irrational steps: simple fractions never lie half way between two of them, where rounding would decide
    return (table.double() * (1e6 * math.sqrt(2.0))).round().long().numpy().tobytes()


def _digest(constant: Constant) -> str:
    _constants.setdefault(constant.digest, constant)
    return constant.digest


def operation(schema: str, like: Callable[..., Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Makes a function of tensors an operation.

    Args:
        schema: Of arguments and results, as `torch.library.define` reads it; a `Constant`, if there is one, is
            ``str constant`` and comes first.
        like: Empty results, from the same arguments.
    """

    def define(function: Callable[P, R]) -> Callable[P, R]:
        name, with_constant = function.__name__, schema.startswith("(str constant")
        tags = (torch.Tag.pt2_compliant_tag, torch.Tag.needs_exact_strides)
        run, shapes = (_of_digest(function), _of_digest(like)) if with_constant else (function, like)
        _defined.define(name + schema, tags=tags)
        _defined.impl(name, run, "CompositeExplicitAutograd")  # any device that the function takes
        torch.library.register_fake(f"{_NAMESPACE}::{name}", shapes, lib=_defined)
        node = getattr(getattr(torch.ops, _NAMESPACE), name).default

        @wraps(function)
        def call(*args: P.args) -> R:
            if not _capturing.get():
                return function(*args)
            return node(_digest(args[0]), *args[1:]) if with_constant else node(*args)

        return call

    return define


def _of_digest(function: Callable[..., R]) -> Callable[..., R]:
    return lambda digest, *tensors: function(constant_of(digest), *tensors)


def constant_of(digest: str) -> Constant:
    """What a digest in compiled code stands for.

    Raises:
        ModelError: Nothing in this process has made it.
    """
    if digest not in _constants:
        raise ModelError(
            "The compiled code needs tables of couplings that nothing here has made: it is of another version of eqff. "
            "Compile or export the model again."
        )
    return _constants[digest]


def each_like(*tensors: Tensor) -> Sequence[Tensor]:
    """Empty tensors, contiguous, of the same sizes."""
    return tuple(tensor.new_empty(tensor.shape) for tensor in tensors)


@operation("(Tensor like) -> Tensor", lambda like: like.new_empty(like.shape))
def mark(like: Tensor) -> Tensor:
    """A place in a captured graph for a tensor that comes later, of the same size."""
    raise RuntimeError("a place in a captured graph has no value")


marked = torch.ops.eqff.mark.default
"""What `mark` leaves."""
