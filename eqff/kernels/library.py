"""The fused operations as a shared library, compiled once per machine from the C++ that eqff ships."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).parent / "source"
FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-shared", "-fPIC", "-fopenmp", "-Wno-psabi"),
    # sums may be reordered into vectors; infinities and NaN keep their meaning
    *("-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math"),
)
COMPILERS = ("c++", "g++", "clang++")
TIMEOUT = 300.0
"""s; a compiler that takes longer is stuck (it takes some 5 s)."""

log = logging.getLogger(__name__)


@cache
def library() -> ctypes.CDLL | None:
    """The library, compiled at the first call on this machine; None, with one log line, where that can't be done."""
    compiler = find_compiler()
    if compiler is None:
        log.warning("No C++ compiler found: the plain operations are used, which are slower. See docs/kernels.md.")
        return None
    try:
        return ctypes.CDLL(str(compiled(compiler)))
    except (OSError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[:1]
        log.warning("The fused operations don't compile (%s): the plain ones are used, which are slower.", reason)
        return None


def find_compiler() -> str | None:
    """Path of the C++ compiler: the one that ``CXX`` names, or the first found of `COMPILERS`."""
    named = os.environ.get("CXX")
    return next((path for name in ((named,) if named else COMPILERS) if (path := shutil.which(name))), None)


def compiled(compiler: str) -> Path:
    """The library's file in the cache, made if it is not there.

    Raises:
        OSError: The cache can't be written.
        subprocess.SubprocessError: The compiler fails or takes too long.
    """
    folder = cache_folder()
    path = folder / f"kernels-{_fingerprint(compiler)}.so"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / path.name
        sources = [str(source) for source in sorted(SOURCES.glob("*.cpp"))]
        command = [compiler, *FLAGS, *sources, "-o", str(made)]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT)
        made.replace(path)  # whole or not at all, also where several processes compile at once
    return path


def cache_folder() -> Path:
    """``kernels`` in the folder that ``EQFF_CACHE`` names, else in ``eqff`` of ``XDG_CACHE_HOME`` or ``~/.cache``."""
    root = os.environ.get("EQFF_CACHE")
    if root:
        return Path(root).expanduser() / "kernels"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "eqff" / "kernels"


def _fingerprint(compiler: str) -> str:
    """Of all that the machine code follows from: source, flags, compiler and processor."""
    parts = [platform.machine(), _processor(), str(Path(compiler).resolve()), *FLAGS]
    parts += [source.read_text() for source in sorted(SOURCES.iterdir()) if source.is_file()]
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, timeout=TIMEOUT, check=True)
    return hashlib.sha256("\0".join([*parts, version.stdout]).encode()).hexdigest()[:16]


def _processor() -> str:
    """Its instruction sets: homes are shared between machines that differ."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor()
    lines = cpuinfo.read_text().splitlines()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
