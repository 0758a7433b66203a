"""Does what a document says, block by block, in the working folder: writes its files, runs its commands and its code.

usage: python follow.py DOCUMENT
"""

from __future__ import annotations

import importlib
import re
import runpy
import shlex
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(
    r"(?:^ *`(?P<file>[\w./]+)`\n)?^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A code block: its language, its text, and the file that it is the content of (or "")."""

    language: str
    text: str
    file: str


def blocks(document: str) -> list[Block]:
    """All code blocks of a Markdown text; a line with only a file name in backticks before one says where it goes."""
    return [Block(m["language"], textwrap.dedent(m["text"]), m["file"] or "") for m in BLOCK.finditer(document)]


def write(block: Block, path: Path) -> None:
    """Writes the file that a block holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text, encoding="utf-8")


def run_tests(arguments: list[str]) -> None:
    """python -m pytest ..."""
    import pytest

    code = pytest.main([*arguments, "-q", "-p", "no:cacheprovider", f"--rootdir={Path.cwd()}"])
    if code:
        raise SystemExit(f"pytest {' '.join(arguments)}: exit code {code}")


def train(arguments: list[str]) -> None:
    """python -m eqff.train ..., in this process, which spares the imports."""
    from eqff.command_line.run import run_command
    from eqff.train import train as task
    from eqff.training.quiet import quiet_libraries

    quiet_libraries()
    sys.argv = ["eqff-train"]
    short = "trainer.max_steps=4"  # the last of two counts; the document's twenty are for readers
    run_command(lambda cfg: task(cfg), "train", [*arguments, "figures=false", "data.seed=0", short])


MODULES = {"pytest": run_tests, "eqff.train": train}


def run(line: str) -> None:
    """A line of a shell block: ``python -m MODULE ...`` or ``python FILE``."""
    python, first, *rest = shlex.split(line)
    if python != "python":
        raise ValueError(f"only python commands can be followed, not: {line}")
    if first == "-m":
        MODULES[rest[0]](rest[1:])
    else:
        runpy.run_path(first, run_name="__main__")


def forget(package: str) -> None:
    """Makes the next import read a package's files again."""
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[name]


def follow(document: str) -> None:
    """Does all that a document says, in its order."""
    for block in blocks(document):
        if block.file:
            write(block, Path(block.file))
            if block.file.startswith("my_parts/"):
                forget("my_parts")  # a command of its own would read the new files
                importlib.import_module(block.file.removesuffix("/__init__.py").removesuffix(".py").replace("/", "."))
        elif block.language == "sh":
            for line in block.text.strip().splitlines():
                print(">", line, flush=True)
                run(line)
        elif block.language == "python":
            exec(compile(block.text, "python block", "exec"), {})


if __name__ == "__main__":
    sys.path.insert(0, "")
    follow(Path(sys.argv[1]).read_text(encoding="utf-8"))
