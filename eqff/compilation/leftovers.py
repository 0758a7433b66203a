"""Files that an interrupted compilation left half written: Inductor takes whatever is in its cache for whole."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from torch._inductor.runtime.cache_dir_utils import cache_dir, default_cache_dir

from eqff.compilation.failures import FAILURES
from eqff.kernels.library import complaint

Made = TypeVar("Made")

_HALF_WRITTEN = re.compile(r"\bPCH\b|truncated|not recognized|too short|\bELF\b")
"""What compilers, linkers and loaders say of precompiled headers, objects and libraries that end too early."""
_KINDS = {".gch", ".pch", ".o", ".so"}
_ATTEMPTS = 5
"""One for each file that a killed compilation can have been writing: two headers, two objects, a library."""

log = logging.getLogger(__name__)


def compiled_whole(make: Callable[[], Made]) -> Made:
    """What ``make`` makes; while half-written files are in its way, they are deleted and ``make`` called once more.

    Otherwise one compilation that was killed would stop all later ones.
    """
    for _ in range(_ATTEMPTS):
        try:
            return make()
        except FAILURES as error:
            found = leftovers(error)
            if not found:
                raise
            log.info("Compiled once more without %s: %s", ", ".join(map(str, found)), complaint(error))
            for path in found:
                path.unlink(missing_ok=True)
    return make()


def leftovers(error: BaseException) -> list[Path]:
    """Files of Inductor's caches that an error names, if it says that one of them is not whole."""
    cause = getattr(error, "inner_exception", error)  # compilers' own words, not the command that was given
    if not _HALF_WRITTEN.search(getattr(cause, "output", None) or str(cause)):
        return []
    words = {word.strip("'\":,;()") for word in str(error).split()}
    # a precompiled header lies beside the header that is named
    named = {Path(word + more) for word in words if word.startswith("/") for more in ("", ".gch", ".pch")}
    folders = [Path(folder()).resolve() for folder in (cache_dir, default_cache_dir)]
    return sorted(
        path
        for path in named
        if path.suffix in _KINDS and path.is_file() and any(path.resolve().is_relative_to(each) for each in folders)
    )
