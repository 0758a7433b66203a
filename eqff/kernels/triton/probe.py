"""Whether Triton works here, found out by a kernel that is compiled and run."""

from __future__ import annotations

import logging
import subprocess
from functools import cache

import torch
from torch.utils._python_dispatch import _disable_current_modes

log = logging.getLogger(__name__)

FAILURES = (ImportError, OSError, RuntimeError, subprocess.SubprocessError)
"""No Triton; no C compiler (it makes what starts a kernel), a full disk; a GPU that it does not know."""


@cache
def available() -> bool:
    """Whether it does; if not, one log line says why."""
    try:
        from eqff.kernels.triton.trial import trial

        with _disable_current_modes():  # the first operation may be one that is captured
            trial(torch.device("cuda"))
    except FAILURES as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        log.warning(
            "No fused operations on this GPU (%s): the plain ones are used, which are slower. See docs/kernels.md.",
            reason,
        )
        return False
    return True
