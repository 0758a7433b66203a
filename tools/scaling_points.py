"""Single points of the scaling study (tools/scaling.py), each measured in a process of its own.

    python tools/scaling_points.py '{"kind": "coulomb", "atoms": 3000, "threads": 1, "folder": "/tmp/scaling"}'

prints one line of JSON. Water is the same box for every kind: rigid molecules at 1 g/cm³ on a cubic lattice, moved and
turned at random.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from ase import Atoms
from scipy.spatial.transform import Rotation
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.longrange.equilibration import equilibrate
from eqff.longrange.induction.modes import Mutual
from eqff.longrange.induction.mutual import InductionSolver, induced_damping
from eqff.longrange.interaction import LatticeInteraction
from eqff.longrange.kernels import GaussianKernel, Kernel, PointKernel
from eqff.longrange.multipoles.interaction import MultipoleInteraction
from eqff.longrange.multipoles.moments import Moments
from eqff.testing.graphs import graph_of
from eqff.units import COULOMB_CONSTANT

CHARGES = (-0.8, 0.4, 0.4)
"""e, of O, H, H."""
EQUILIBRATION = {"chi": (24.0, 0.0, 0.0), "hardness": (11.0, 13.0, 13.0), "widths": (0.66, 0.31, 0.31)}
"""V, eV/e² and Å; charges come out at about -0.8 e on oxygen."""
POLARIZABILITIES, THOLE = (0.837, 0.496, 0.496), 0.39
"""Å³, of O, H, H, and Thole's a: AMOEBA's."""
TOLERANCE, TIGHT_TOLERANCE = 1e-7, 1e-11
"""Relative residual of the solver, as timed and in the reference."""

CUTOFF, ACCURACY = 6.0, 7e-6
TIGHT = (8.0, 1e-7)
"""Cutoff in Å and accuracy of the reference sums, whose own error is about 1e-7."""

LATTICE_SPACING = 3.104  # Å; one molecule in its cube is 1 g/cm³
FEWEST, LONGEST = 3, 4.0
"""Repetitions of a measurement at least; seconds after which no other one is begun."""

Evaluation = Callable[[], tuple[Tensor, dict[str, Any]]]
"""Gives forces (N, 3) and what else is worth keeping."""


def water(atoms: int) -> Atoms:
    """A periodic cube of water.

    Args:
        atoms: 3 k³ for a whole number k.

    Raises:
        ValueError: It is not.
    """
    side = round((atoms / 3) ** (1 / 3))
    if 3 * side**3 != atoms:
        raise ValueError(f"{atoms} atoms are no cube of water molecules; {3 * side**3} are.")
    rng = np.random.default_rng(0)
    molecule = np.array([[0.0, 0.0, 0.0], [0.9572, 0.0, 0.0], [-0.24, 0.9266, 0.0]])
    places = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3) * LATTICE_SPACING
    turned = np.einsum("mij,aj->mai", Rotation.random(side**3, random_state=0).as_matrix(), molecule)
    positions = places + turned + rng.normal(scale=0.1, size=(side**3, 1, 3))
    box = Atoms("OHH" * side**3, positions.reshape(-1, 3), cell=[side * LATTICE_SPACING] * 3, pbc=True)
    box.info.update(total_charge=0, multiplicity=1)
    return box


def of_atoms(values: tuple[float, ...], graph: AtomicGraph) -> Tensor:
    """Values of O, H, H for each atom, (N,)."""
    return torch.tensor(values, dtype=torch.float64).repeat(graph.num_atoms // 3)


def sum_of(
    kernel: Kernel, cutoff: float, accuracy: float, atoms: int, mesh_from: int = 500
) -> tuple[AtomicGraph, LatticeInteraction]:
    """The box with its neighbours, and the way in which it is summed."""
    interaction = LatticeInteraction(
        kernel, cutoff, accuracy, mesh_from, include_self=isinstance(kernel, GaussianKernel)
    )
    return graph_of([water(atoms)], interaction.neighbour_lists, torch.float64), interaction


def coulomb(atoms: int, cutoff: float = CUTOFF, accuracy: float = ACCURACY, mesh_from: int = 500) -> Evaluation:
    """Energy and forces of given charges, everything that depends on positions included; neighbours are given."""
    graph, interaction = sum_of(PointKernel(), cutoff, accuracy, atoms, mesh_from)
    charges = of_atoms(CHARGES, graph)

    def evaluate() -> tuple[Tensor, dict[str, Any]]:
        positions = graph.positions.clone().requires_grad_()
        energy = interaction.bind(graph.deformed(positions)).energy(charges).sum()
        return -torch.autograd.grad(energy, positions)[0], {"energy": energy.item()}

    return evaluate


def equilibration(
    atoms: int, cutoff: float = CUTOFF, accuracy: float = ACCURACY, tolerance: float = TOLERANCE
) -> Evaluation:
    """Equilibrated Gaussian charges by conjugate gradients, their energy and forces."""
    graph, interaction = sum_of(GaussianKernel(), cutoff, accuracy, atoms)
    chi, hardness, widths = (of_atoms(EQUILIBRATION[name], graph) for name in ("chi", "hardness", "widths"))

    def evaluate() -> tuple[Tensor, dict[str, Any]]:
        positions = graph.positions.clone().requires_grad_()
        found = equilibrate(
            graph.deformed(positions), interaction, chi, hardness, widths, iterative=True, tolerance=tolerance
        )
        forces = -torch.autograd.grad(found.energy.sum(), positions)[0]
        told = {"iterations": found.convergence[0].iterations, "oxygen_charge": found.charges[::3].mean().item()}
        return forces, {"energy": found.energy.item(), **told}

    return evaluate


def induction(
    atoms: int, cutoff: float = CUTOFF, accuracy: float = ACCURACY, tolerance: float = TOLERANCE
) -> Evaluation:
    """Mutually induced dipoles in the field of given charges, by conjugate gradients, their energy and forces."""
    interaction = MultipoleInteraction(cutoff=cutoff, accuracy=accuracy)
    graph = graph_of([water(atoms)], interaction.neighbour_lists, torch.float64)
    charges = of_atoms(CHARGES, graph)
    alpha = torch.diag_embed(of_atoms(POLARIZABILITIES, graph)[:, None].expand(-1, 3))
    mode = Mutual(InductionSolver(tolerance, dense_up_to=0))

    def evaluate() -> tuple[Tensor, dict[str, Any]]:
        positions = graph.positions.clone().requires_grad_()
        moved = graph.deformed(positions)
        bound = interaction.bind(moved, induced_damping(alpha, THOLE), rank=1)
        found = mode.induce(moved, interaction, bound.fields(Moments(charges), rank=1).field, alpha, THOLE)
        forces = -torch.autograd.grad(found.energy.sum(), positions)[0]
        return forces, {"energy": found.energy.item(), "iterations": int(found.iterations.max())}

    return evaluate


KINDS = {"coulomb": coulomb, "equilibration": equilibration, "induction": induction}


def reference_path(kind: str, atoms: int, folder: Path) -> Path:
    """Of the tight forces."""
    return folder / f"reference_{kind}_{atoms}.npy"


def reference(kind: str, atoms: int, folder: Path) -> Path:
    """Where tight forces are kept; made if they are not there."""
    path = reference_path(kind, atoms, folder)
    if not path.is_file():
        settings = {} if kind == "coulomb" else {"tolerance": TIGHT_TOLERANCE}
        forces, _ = KINDS[kind](atoms, *TIGHT, **settings)()
        folder.mkdir(parents=True, exist_ok=True)
        np.save(path, forces.numpy())
    return path


def relative_error(forces: Tensor, exact: Tensor) -> float:
    """RMS of the error by the RMS of the forces."""
    return float((forces - exact).square().mean().sqrt() / exact.square().mean().sqrt())


def measured(*evaluations: Evaluation) -> list[dict[str, Any]]:
    """Wall and CPU seconds (best of all repetitions) and memory of evaluations, which take turns."""
    results: list[dict[str, Any]] = []
    for evaluate in evaluations:
        forces, told = evaluate()
        results.append({"memory_mib": peak_memory(evaluate), "wall": [], "cpu": [], "forces": forces, **told})
    end = time.perf_counter() + LONGEST * len(evaluations)
    while len(results[0]["wall"]) < FEWEST or time.perf_counter() < end:
        for evaluate, result in zip(evaluations, results, strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            evaluate()
            result["wall"].append(time.perf_counter() - wall)
            result["cpu"].append(time.process_time() - cpu)
    for result in results:
        result["repetitions"] = len(result["wall"])
        result["wall"], result["cpu"] = min(result["wall"]), min(result["cpu"])
    return results


def peak_memory(evaluate: Evaluation) -> float:
    """MiB that an evaluation needs at most, beside what the process holds before (the box and its neighbours)."""
    # what is freed stays with the process otherwise, and would be there already
    ctypes.CDLL(None).malloc_trim(0)
    process, done = psutil.Process(), threading.Event()
    before = process.memory_info().rss
    seen = [before]

    def watch() -> None:
        while not done.wait(5e-4):
            seen.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    end = time.perf_counter() + 0.5  # short ones several times, so that the peak is met
    while True:
        evaluate()
        if time.perf_counter() > end:
            break
    done.set()
    watcher.join()
    return (max(seen) - before) / 2**20


def point(kind: str, atoms: int, folder: Path, largest_reference: int) -> dict[str, Any]:
    """One point of our own."""
    exact = None
    if atoms <= largest_reference or reference_path(kind, atoms, folder).is_file():
        exact = torch.from_numpy(np.load(reference(kind, atoms, folder)))
    start = time.perf_counter()
    evaluate = KINDS[kind](atoms)
    built = time.perf_counter() - start
    (result,) = measured(evaluate)
    forces = result.pop("forces")
    error = None if exact is None else relative_error(forces, exact)
    return result | {"neighbours": built, "force_error": error}


def candidates(atoms: int) -> Iterator[tuple[dict[str, Any], Evaluation]]:
    """Settings of torch-pme to choose from: P3M with 4 or 5 nodes, half neighbour lists, meshes of a power of two."""
    length = round((atoms / 3) ** (1 / 3)) * LATTICE_SPACING
    for cutoff in (4.5, 6.0, 7.5, 9.0):
        if cutoff > length:
            continue
        graph, interaction = sum_of(PointKernel(), cutoff, ACCURACY, atoms)
        for share in (4.4, 4.8):
            finest = 2 ** int(np.ceil(np.log2(length * share / cutoff * 2.2)))
            for points in (finest // 2, finest):
                for nodes in (4, 5):
                    settings = {"cutoff": cutoff, "smearing": cutoff / share, "points": points, "nodes": nodes}
                    yield settings, torch_pme(graph, graph.edges[interaction.list_name], **settings)


def torch_pme(graph: AtomicGraph, edges: Any, cutoff: float, smearing: float, points: int, nodes: int) -> Evaluation:
    """torch-pme's P3M [Loche et al., J. Chem. Phys. 162, 142501 (2025)] on the same box, with half of the pairs."""
    from torchpme import CoulombPotential, P3MCalculator

    once, cell, charges = edges.receiver < edges.sender, graph.cell[0], of_atoms(CHARGES, graph)[:, None]
    pairs, shift = torch.stack([edges.receiver, edges.sender], dim=1)[once], edges.shift[once]
    potential = CoulombPotential(smearing=smearing, prefactor=COULOMB_CONSTANT)
    spacing = 2 * float(cell[0, 0]) / (points - 1.5)  # its mesh is the power of two that follows
    calculator = P3MCalculator(potential, mesh_spacing=spacing, interpolation_nodes=nodes).to(torch.float64)

    def evaluate() -> tuple[Tensor, dict[str, Any]]:
        positions = graph.positions.clone().requires_grad_()
        vectors = positions[pairs[:, 1]] - positions[pairs[:, 0]] + shift @ cell
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        energy = (calculator(charges, cell, positions, pairs, lengths) * charges).sum()
        return -torch.autograd.grad(energy, positions)[0], {"energy": energy.item()}

    return evaluate


def ours(atoms: int) -> Iterator[tuple[dict[str, Any], Evaluation]]:
    """Our settings to choose from."""
    for cutoff, accuracy, mesh_from in product((4.5, 5.0, 6.0, 7.5), (7e-6, 1e-5), (500, 1) if atoms < 500 else (500,)):
        settings = {"cutoff": cutoff, "accuracy": accuracy, "mesh_from": mesh_from}
        yield settings, coulomb(atoms, **settings)


def fastest(
    choices: Iterable[tuple[dict[str, Any], Evaluation]], exact: Tensor, goal: float
) -> tuple[dict[str, Any], Evaluation, float]:
    """Of those whose forces are off by at most ``goal`` the one with least CPU time in two evaluations."""
    best: tuple[float, dict[str, Any], Evaluation, float] | None = None
    for settings, evaluate in choices:
        error = relative_error(evaluate()[0], exact)
        if error > goal:
            continue
        start = time.process_time()
        evaluate()
        took = time.process_time() - start
        if best is None or took < best[0]:
            best = took, settings, evaluate, error
    if best is None:
        raise RuntimeError(f"No settings reach a relative force error of {goal:g}.")
    return best[1:]


def beside(atoms: int, folder: Path, chosen: dict[str, Any] | None, goal: float = 1e-5) -> dict[str, Any]:
    """Both in turns, at the fastest settings that reach the goal.

    Args:
        atoms: Of the box.
        folder: Of reference forces.
        chosen: Settings of both, if they are known from a box of half the length; else all are tried.
        goal: Relative force error.
    """
    from importlib.metadata import version

    exact = torch.from_numpy(np.load(reference("coulomb", atoms, folder)))
    choices = {"eqff": ours(atoms), "torch_pme": candidates(atoms)}
    if chosen is not None:
        own, other = chosen["eqff"], chosen["torch_pme"]
        graph, interaction = sum_of(PointKernel(), other["cutoff"], ACCURACY, atoms)
        edges = graph.edges[interaction.list_name]
        choices = {
            "eqff": iter([(own, coulomb(atoms, **own))]),
            "torch_pme": iter([(other, torch_pme(graph, edges, **other))]),
        }
    best = [fastest(each, exact, goal) for each in choices.values()]
    results = measured(*(evaluate for _, evaluate, _ in best))
    told: dict[str, Any] = {"torch_pme_version": version("torch-pme")}
    for name, (settings, _, error), result in zip(choices, best, results, strict=True):
        result.pop("forces")
        told[name] = result | {"settings": settings, "force_error": error}
    return told


def main() -> None:
    """Measures the point that the argument describes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("point", type=json.loads, help="kind, atoms, threads, folder, largest_reference as JSON")
    job = parser.parse_args().point
    torch.set_num_threads(job["threads"])
    folder = Path(job["folder"])
    if job["kind"] == "beside":
        result = beside(job["atoms"], folder, job.get("chosen"))
    else:
        result = point(job["kind"], job["atoms"], folder, job["largest_reference"])
    host = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "torch": torch.__version__}
    print(json.dumps({key: job[key] for key in ("kind", "atoms", "threads")} | result | host))


if __name__ == "__main__":
    main()
