"""The fused operations as a shared library, compiled once per machine from the C++ that eqff ships."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
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
"""s; a compiler that takes longer is stuck (it takes some 10 s)."""
CPUINFO = Path("/proc/cpuinfo")
_KIND = ("vendor_id", "cpu family", "model", "flags", "CPU implementer", "CPU architecture", "CPU part", "Features")

log = logging.getLogger(__name__)


@cache
def compiled_library(name: str, text: str) -> ctypes.CDLL | None:
    """A library of `compiled_text`, made at the first call on a machine; None, with a log line, where it can't be."""
    try:
        return ctypes.CDLL(str(compiled_text(name, text, find_compiler())))
    except (OSError, subprocess.SubprocessError) as error:
        log.warning(
            "No code of their own for %s (%s): slower operations run. See docs/kernels.md.", name, complaint(error)
        )
        return None


@cache
def library() -> ctypes.CDLL | None:
    """The library, compiled at the first call on this machine; None, with one log line, where that can't be done."""
    try:
        return ctypes.CDLL(str(compiled(find_compiler())))
    except (OSError, subprocess.SubprocessError) as error:
        log.warning(
            "No fused operations here (%s): the plain ones are used, which are slower. See docs/kernels.md.",
            complaint(error),
        )
        return None


def find_compiler() -> tuple[str, ...]:
    """The C++ compiler's path and first arguments: what ``CXX`` says, or the first found of `COMPILERS`.

    Raises:
        FileNotFoundError: There is none.
    """
    named = shlex.split(os.environ.get("CXX", ""))
    for name, *arguments in [named] if named else [[name] for name in COMPILERS]:
        if path := shutil.which(name):
            return path, *arguments
    raise FileNotFoundError(f"no C++ compiler found: {named[0] if named else ', '.join(COMPILERS)}")


def compiled(compiler: Sequence[str]) -> Path:
    """The library's file in the cache, made if it is not there.

    Raises:
        OSError: The cache can't be written.
        subprocess.SubprocessError: The compiler fails or takes too long.
    """
    sources = [str(source) for source in sorted(SOURCES.glob("*.cpp"))]
    return in_cache(f"kernels-{fingerprint(compiler)}.so", lambda made: _run([*compiler, *FLAGS, *sources, "-o", made]))


def compiled_text(name: str, text: str, compiler: Sequence[str]) -> Path:
    """The same of C++ that was written by a program; it may include the shipped headers.

    Args:
        name: Begins the file's name.
        text: The source.
        compiler: As of `find_compiler`.

    Raises:
        OSError: The cache can't be written.
        subprocess.SubprocessError: The compiler fails or takes too long.
    """

    def make(path: str) -> None:
        log.info("Code for %s is compiled, once on this machine", name)
        source = Path(path).with_suffix(".cpp")
        source.write_text(text, encoding="utf-8")
        # nothing is left to find in straight lines of code: more than -O1 takes longer and makes nothing faster
        _run([*compiler, *FLAGS, "-O1", "-I", str(SOURCES), str(source), "-o", path])

    return in_cache(f"{name}-{fingerprint(compiler, text)}.so", make)


def compiled_object(source: Path, options: Sequence[str], also: str) -> Path:
    """Code of a file to be linked into something else, in the cache, made if it is not there.

    Args:
        source: C++; it may include the shipped files.
        options: For the compiler, besides `FLAGS`; where files lie is no part of the code's name.
        also: All else that the code follows from, as what it includes.

    Raises:
        OSError: There is no compiler, or the cache can't be written.
        subprocess.SubprocessError: The compiler fails or takes too long.
    """
    compiler, flags = find_compiler(), [flag for flag in FLAGS if flag != "-shared"]
    chosen = [option for option in options if not option.startswith("-I")]
    name = f"{source.stem}-{fingerprint(compiler, chr(0).join([source.read_text(encoding='utf-8'), *chosen, also]))}.o"
    # not to be seen from outside, where other models have functions of the same names
    command = [*compiler, *flags, "-fvisibility=hidden", "-I", str(SOURCES), *options, "-c", str(source)]
    return in_cache(name, lambda made: _run([*command, "-o", made]))


def archive(path: Path, objects: Sequence[Path]) -> None:
    """Puts object code together as ``libNAME.a``; errors as of `compiled_object`."""
    _run(["ar", "rcs", str(path), *map(str, objects)])


def shared_library(path: str, objects: Sequence[Path], options: Sequence[str] = ()) -> None:
    """Links object code; errors as of `compiled_object`."""
    _run([*find_compiler(), *FLAGS, *map(str, objects), *options, "-o", path])


def beside(library: Path) -> list[str]:
    """Options to link with a library that is going to lie in the same folder, wherever that is moved."""
    return [f"-L{library.parent}", f"-l:{library.name}", "-Wl,-rpath,$ORIGIN"]


def in_cache(name: str, make: Callable[[str], object]) -> Path:
    """A file of the cache, made under another path if it is not there.

    Args:
        name: Unlike that of any file with other contents.
        make: Writes it to a path.

    Raises:
        OSError: The cache can't be written.
    """
    folder = cache_folder()
    path = folder / name
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / name
        make(str(made))
        made.replace(path)  # whole or not at all, also where several processes compile at once
    return path


def cache_folder() -> Path:
    """``kernels`` in the folder that ``EQFF_CACHE`` names, else in ``eqff`` of ``XDG_CACHE_HOME`` or ``~/.cache``.

    Raises:
        OSError: Nothing is named and there is no home.
    """
    named, parent = os.environ.get("EQFF_CACHE"), os.environ.get("XDG_CACHE_HOME")
    try:
        root = Path(named).expanduser() if named else Path(parent or "~/.cache").expanduser() / "eqff"
    except RuntimeError as error:
        raise OSError(f"no folder to keep them in: {error} EQFF_CACHE can name one.") from error
    return root / "kernels"


def fingerprint(compiler: Sequence[str], text: str = "") -> str:
    """Of all that the machine code follows from: source, flags, compiler and processor."""
    parts = [platform.machine(), processor(), str(Path(compiler[0]).resolve()), *compiler[1:], *FLAGS, text]
    parts += [source.read_text(encoding="utf-8") for source in sorted(SOURCES.iterdir()) if source.is_file()]
    return hashlib.sha256("\0".join([*parts, _run([*compiler, "--version"])]).encode()).hexdigest()[:16]


def processor() -> str:
    """Its kind and instruction sets, as homes are shared between machines that differ; their names where unknown."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return platform.node()
    first = lines[: lines.index("")] if "" in lines else lines  # of what may be many processors
    return "\n".join(line for line in first if line.startswith(_KIND)) or platform.node()


def _run(command: Sequence[str]) -> str:
    """What a command prints."""
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, stdin=subprocess.DEVNULL
    )
    return done.stdout


def complaint(error: BaseException) -> str:
    """What a compiler complains of first, else the first line of an error's message, or its name."""
    error = getattr(error, "inner_exception", None) or error  # PyTorch wraps errors of its compilers
    said = [text for name in ("stderr", "output") if isinstance(text := getattr(error, name, None), str)]
    lines = (next(filter(None, said), "") or str(error)).strip().splitlines()
    errors = [line for line in lines if "error" in line] if any(said) else []
    return (errors or lines or [repr(error)])[0].strip()
