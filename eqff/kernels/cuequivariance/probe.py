"""Whether cuEquivariance and its kernels are here."""

from __future__ import annotations

import logging
from functools import cache
from importlib import import_module

import torch

MODULES = ("cuequivariance_torch", "cuequivariance_ops_torch.uniform_1d")
"""The front end, and NVIDIA's kernels, without which it would run slow operations and say so in a warning only."""

log = logging.getLogger(__name__)


@cache
def available() -> bool:
    """Whether they are, with a GPU for them; if not, one log line says why."""
    try:
        for name in MODULES:
            import_module(name)
        if not torch.cuda.is_available() or torch.version.cuda is None:
            raise OSError("no NVIDIA GPU")
    except (ImportError, OSError) as error:
        log.warning("No cuEquivariance here (%s). See docs/kernels.md.", error)
        return False
    return True
