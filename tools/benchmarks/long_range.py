"""Long range beside other packages, one tool after the other; what each prints is shown under its title."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.jobs import TOOLS

SIZES = ("192", "648", "1536", "5184")
BESIDE = ("192", "648", "1536", "3000")


def commands(folder: Path, openmm: Path | None, torch_pme: Path | None) -> Iterator[tuple[str, list[str]]]:
    """Title and command of each part.

    Args:
        folder: Of results; each part goes on with what is missing in it.
        openmm: An interpreter that has OpenMM; None leaves that comparison out.
        torch_pme: An interpreter that has eqff and torch-pme; the same.
    """
    sizes = ["--threads", "1", "--sizes"]
    scaling = [str(TOOLS / "scaling.py"), "--folder", str(folder / "scaling")]
    yield "Coulomb, equilibration and induction by size", [sys.executable, *scaling, *sizes, *SIZES]
    if torch_pme:
        beside = ["--kinds", "coulomb", "--with", "torch_pme", *sizes, *BESIDE]
        yield "Coulomb beside torch-pme", [str(torch_pme), *scaling, *beside]
    if openmm:
        induction = [str(TOOLS / "induction_beside.py"), "--folder", str(folder / "induction"), "--openmm", str(openmm)]
        yield "Induction beside OpenMM", [sys.executable, *induction, "--sizes", *SIZES]
    yield "The whole stack in training", [sys.executable, str(TOOLS / "stack_cost.py"), "--steps", "9"]


def run(folder: Path, openmm: Path | None, torch_pme: Path | None) -> int:
    """Runs all; the number of parts that have failed."""
    failures = 0
    for title, command in commands(folder, openmm, torch_pme):
        print(f"\n## {title}\n", flush=True)
        done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
        if done.returncode:
            print(f"failed with exit code {done.returncode}: {' '.join(command)}", file=sys.stderr, flush=True)
            failures += 1
    return failures
