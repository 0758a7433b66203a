"""Energy and forces of polarizable water beside OpenMM's AMOEBA, in turns and at equal accuracy.

    python tools/induction_beside.py --openmm PYTHON --folder induction --sizes 192 648 1536 5184

PYTHON is an interpreter that has OpenMM (pip install openmm in an environment of its own). The system is a box of
water with AMOEBA's charges, dipoles, quadrupoles and polarizabilities [Ren & Ponder, J. Phys. Chem. B 107, 5933
(2003)], fixed in space, nothing permanent within molecules, Thole's damping, dipoles converged. Both get the settings
that are fastest among those whose forces are off by at most --goal (RMS by RMS) from sums at 1e-9 with dipoles
converged to 1e-12 (boxes beyond 1536 atoms: those of the largest smaller one); then they take turns. Ours has its list
of neighbours already. The best CPU seconds of all turns are shown. OpenMM computes this force on its
Reference platform only; CPU falls back to it.

Points are appended to FOLDER/points.jsonl; started again, it goes on with what is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from scaling_points import relative_error, water
from torch import Tensor

from eqff.derivatives import differentiate
from eqff.longrange.induction.modes import Mutual
from eqff.longrange.induction.mutual import InductionSolver
from eqff.longrange.multipoles.interaction import MultipoleInteraction
from eqff.longrange.multipoles.moments import Moments
from eqff.longrange.multipoles.scaling import PairScaling
from eqff.testing.graphs import graph_of
from eqff.testing.reference.induction import PolarizableSystem
from eqff.units import BOHR

Arrays = dict[str, np.ndarray]
Settings = dict[str, Any]

THOLE, POLARIZABILITIES = 0.39, (0.837, 0.496, 0.496)
CHARGES = (-0.51966, 0.25983, 0.25983)
DIPOLES = ((0.0, 0.0, 0.14279), (-0.03859, 0.0, -0.05818))
"""e·bohr, of O along the bisector (z), of H towards O (z) with the other H at positive x."""
QUADRUPOLES = (
    ((0.37928, 0.0, 0.0), (0.0, -0.41809, 0.0), (0.0, 0.0, 0.03881)),
    ((-0.03673, 0.0, -0.00203), (0.0, -0.10739, 0.0), (-0.00203, 0.0, 0.14412)),
)
"""Buckingham's, e·bohr²."""

TIGHT = {"cutoff": 9.0, "accuracy": 1e-9, "tolerance": 1e-12}
OURS = [
    {"cutoff": cutoff, "accuracy": accuracy, "tolerance": tolerance}
    for cutoff, accuracy, tolerance in product((4.5, 5.5, 7.0), (5e-5, 1e-4, 2e-4, 3e-4), (1e-3, 1e-4))
]
SHARES, SPACINGS, EPSILONS = (2.8, 3.3), (0.2, 0.26, 0.33), (1e-3, 1e-4)
"""Of OpenMM: splitting × cutoff, distance of mesh points × splitting, and convergence of dipoles in debye."""
CUTOFFS = (5.0, 6.0, 7.0)
TURNS = 8
CHOSEN_UP_TO = 1536
"""Atoms of the largest box for which all settings are tried."""


def frames(positions: np.ndarray) -> np.ndarray:
    """Axes x, y, z (rows) of O, H, H in every molecule, (M, 3, 3, 3); positions (M, 3, 3) of O, H, H."""
    bonds = positions[:, 1:] - positions[:, :1]
    bisector = bonds.sum(axis=1)
    along = np.stack([bisector, -bonds[:, 0], -bonds[:, 1]], axis=1)
    towards = np.stack([bonds[:, 0], bonds[:, 1] - bonds[:, 0], bonds[:, 0] - bonds[:, 1]], axis=1)
    z = along / np.linalg.norm(along, axis=-1, keepdims=True)
    x = towards - (towards * z).sum(axis=-1, keepdims=True) * z
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    return np.stack([x, np.cross(z, x), z], axis=2)


def system(atoms: int) -> Arrays:
    """The box and its moments, as tools/openmm_induction.py takes them.

    Args:
        atoms: 3 k³.
    """
    box = water(atoms)
    axes, molecules = frames(box.positions.reshape(-1, 3, 3)), atoms // 3
    dipoles = np.array([DIPOLES[0], DIPOLES[1], DIPOLES[1]]) * BOHR
    quadrupoles = np.array([QUADRUPOLES[0], QUADRUPOLES[1], QUADRUPOLES[1]]) * BOHR**2
    return {
        "positions": box.positions,
        "cell": np.asarray(box.cell),
        "charges": np.tile(CHARGES, molecules),
        "dipoles": np.einsum("maij,ai->maj", axes, dipoles).reshape(-1, 3),
        "quadrupoles": np.einsum("maki,akl,malj->maij", axes, quadrupoles, axes).reshape(-1, 3, 3),
        "polarizabilities": np.tile(POLARIZABILITIES, molecules),
        "thole": np.array(THOLE),
        "molecules": np.repeat(np.arange(molecules), 3),
    }


def ours(atoms: int, arrays: Arrays, settings: Settings) -> Callable[[], tuple[float, Tensor]]:
    """Energy in eV and forces in eV/Å of the whole, neighbours given."""
    numbers = {name: torch.from_numpy(np.asarray(value)) for name, value in arrays.items()}
    mesh_from = settings.get("mesh_from", 500)
    interaction = MultipoleInteraction(cutoff=settings["cutoff"], accuracy=settings["accuracy"], mesh_from=mesh_from)
    graph = graph_of([water(atoms)], interaction.neighbour_lists, torch.float64)
    whole = PolarizableSystem(
        interaction,
        torch.diag_embed(numbers["polarizabilities"][:, None].expand(-1, 3)),
        torch.full((atoms,), THOLE, dtype=torch.float64),
        PairScaling.of_groups(numbers["molecules"], graph),
    )
    moments = Moments(numbers["charges"], numbers["dipoles"], numbers["quadrupoles"])
    mode = Mutual(InductionSolver(settings["tolerance"], 200, dense_up_to=0))

    def evaluate() -> tuple[float, Tensor]:
        found = differentiate(lambda moved: (whole.energy(moved, moments, mode)[0], {}), graph, create_graph=False)
        return float(found["energy"][0]), found["forces"]

    return evaluate


class OpenMM:
    """OpenMM in a process of its own.

    Args:
        process: That of tools/openmm_induction.py.
    """

    def __init__(self, process: subprocess.Popen):
        self.process = process

    def __call__(self, settings: Settings, repeat: int = 1) -> dict[str, Any]:
        """Its answer, with forces as a tensor.

        Raises:
            RuntimeError: It has ended.
        """
        self.process.stdin.write(json.dumps(settings | {"repeat": repeat}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("OpenMM's process has ended; what it said stands above.")
        told = json.loads(line)
        return told | {"forces": torch.from_numpy(np.load(told["forces"]))}


@contextmanager
def openmm(python: Path, arrays: Arrays, folder: Path, platform: str) -> Iterator[OpenMM]:
    """OpenMM with a system, until the block ends."""
    path = folder / f"water{len(arrays['charges'])}.npz"
    np.savez(path, **arrays)
    script = Path(__file__).with_name("openmm_induction.py")
    command = [str(python), str(script), str(path), platform]
    environment = os.environ | {"OPENMM_CPU_THREADS": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield OpenMM(process)
        process.stdin.close()


def theirs(cell: np.ndarray) -> Iterable[Settings]:
    """OpenMM's settings to choose from."""
    length = float(cell[0, 0])
    for cutoff, share, spacing, epsilon in product(CUTOFFS, SHARES, SPACINGS, EPSILONS):
        if 2 * cutoff < length:
            splitting = share / cutoff
            points = 2 * int(np.ceil(length * splitting / spacing / 2))
            yield {"cutoff": cutoff, "splitting": splitting, "points": points, "epsilon": epsilon}


def fastest(choices: Iterable[tuple[float, float, Settings]], goal: float) -> tuple[Settings, float]:
    """Settings and error of the one with least seconds among those (seconds, error, settings) that reach the goal.

    Raises:
        RuntimeError: None does.
    """
    reached = [choice for choice in choices if choice[1] <= goal]
    if not reached:
        raise RuntimeError(f"No settings reach a relative force error of {goal:g}.")
    _, error, settings = min(reached, key=lambda choice: choice[0])
    return settings, error


def cpu_seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    """Of this process, and what the function returns."""
    start = time.process_time()
    value = function()
    return time.process_time() - start, value


def point(atoms: int, options: argparse.Namespace, smaller: dict[str, Any] | None) -> dict[str, Any]:
    """Both on one box.

    Args:
        atoms: Of the box.
        options: Of the command line.
        smaller: The point whose settings are taken; None to choose.
    """
    arrays = system(atoms)
    exact = reference(atoms, arrays, options.folder)
    ways = (500, 1) if atoms < 500 else (500,)  # small boxes on a mesh too
    own_choices = [choice | {"mesh_from": mesh_from} for choice in OURS for mesh_from in ways]
    its_choices = theirs(arrays["cell"])
    if smaller is not None:
        its = smaller["openmm"]["settings"]
        scale = (atoms / smaller["atoms"]) ** (1 / 3)
        own_choices = [smaller["eqff"]["settings"]]
        its_choices = [its | {"points": 2 * int(np.ceil(its["points"] * scale / 2))}]
    goal = options.goal if smaller is None else float("inf")
    tried = []
    for settings in own_choices:
        evaluate = ours(atoms, arrays, settings)
        error = relative_error(evaluate()[1], exact)
        tried.append((cpu_seconds(evaluate)[0], error, settings))
    own, own_error = fastest(tried, goal)
    evaluate = ours(atoms, arrays, own)
    with openmm(options.openmm, arrays, options.folder, options.platform) as other:
        tried = []
        for settings in its_choices:
            told = other(settings)
            tried.append((told["cpu"], relative_error(told["forces"], exact), settings))
        its, its_error = fastest(tried, goal)
        evaluate()
        told = other(its)
        about = {name: told[name] for name in ("version", "platform")}
        turns = [(cpu_seconds(evaluate)[0], other(its)["cpu"]) for _ in range(TURNS)]
    return {
        "atoms": atoms,
        "goal": options.goal,
        "eqff": {"cpu": min(turn[0] for turn in turns), "force_error": own_error, "settings": own},
        "openmm": {"cpu": min(turn[1] for turn in turns), "force_error": its_error, "settings": its} | about,
    }


def reference(atoms: int, arrays: Arrays, folder: Path) -> Tensor:
    """Tight forces, kept in a file."""
    path = folder / f"tight_{atoms}.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        np.save(path, ours(atoms, arrays, TIGHT)()[1].numpy())
    return torch.from_numpy(np.load(path))


def table(points: Iterable[dict[str, Any]]) -> str:
    """Markdown, with the geometric mean of the ratios."""
    lines = ["| atoms | eqff: CPU, s | OpenMM: CPU, s | OpenMM by eqff | force error: eqff | OpenMM |"]
    lines.append("|---|---|---|---|---|---|")
    ratios = []
    for row in points:
        own, other = row["eqff"], row["openmm"]
        ratios.append(other["cpu"] / own["cpu"])
        errors = f"{own['force_error']:.1e} | {other['force_error']:.1e}"
        lines.append(f"| {row['atoms']} | {own['cpu']:.3g} | {other['cpu']:.3g} | {ratios[-1]:.2f} | {errors} |")
    return "\n".join(lines) + f"\n\ngeometric mean of OpenMM by eqff: {np.exp(np.mean(np.log(ratios))):.2f}"


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--openmm", type=Path, required=True, metavar="PYTHON", help="an interpreter with OpenMM")
    parser.add_argument("--folder", type=Path, default=Path("induction"), help="of points and tight forces")
    parser.add_argument("--sizes", type=int, nargs="+", default=(192, 648, 1536, 5184), metavar="ATOMS")
    parser.add_argument("--goal", type=float, default=5e-4, help="relative force error that both have to reach")
    parser.add_argument("--platform", choices=["Reference", "CPU"], default="Reference", help="of OpenMM")
    options = parser.parse_args(arguments)
    if not options.openmm.is_file():
        print(f"error: there is no interpreter {options.openmm} (--openmm).", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    path = options.folder / "points.jsonl"
    done = {row["atoms"]: row for row in _read(path) if row["goal"] == options.goal}
    for place, atoms in enumerate(options.sizes, start=1):
        print(f"[{place}/{len(options.sizes)}] {atoms} atoms", file=sys.stderr, flush=True)
        if atoms not in done:
            chosen = [row for size, row in done.items() if size <= CHOSEN_UP_TO]
            smaller = max(chosen, key=lambda row: row["atoms"]) if atoms > CHOSEN_UP_TO and chosen else None
            done[atoms] = point(atoms, options, smaller)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(done[atoms]) + "\n")
    print(table(done[atoms] for atoms in options.sizes))
    return 0


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


if __name__ == "__main__":
    sys.exit(main())
