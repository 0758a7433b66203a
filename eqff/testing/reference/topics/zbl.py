"""Topic ``zbl``: clusters, and scans of a pair's distance, with LAMMPS' switch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from ase import Atoms

from eqff.potential import Potential
from eqff.terms.zbl import ZBLRepulsion, zbl_pair_energy
from eqff.testing.graphs import graph_of
from eqff.testing.reference.case import Quantity, ReferenceCase
from eqff.units import COULOMB_CONSTANT


def quantities(case: ReferenceCase) -> Iterator[Quantity]:
    """Energy and forces of the system, and along the scan also the unswitched energy."""
    constant = case.parameters.get("coulomb_eV_A_used", COULOMB_CONSTANT)
    term = ZBLRepulsion(case.parameters["inner"], case.parameters["outer"], coulomb_constant=constant)
    potential = Potential(None, {"zbl": term}, elements=tuple(set(case.atoms.numbers.tolist()))).double().eval()
    prediction = _predict(potential, [case.atoms])
    yield Quantity("energy", prediction["energy"][0])
    yield Quantity("forces", prediction["forces"])
    yield Quantity("stress", prediction["stress"][0], tolerance_of="forces")
    if case.results.get("scan"):
        yield from _scan(case, potential, constant)


def _scan(case: ReferenceCase, potential: Potential, constant: float) -> Iterator[Quantity]:
    points = case.results["scan"]
    distances = [point["distance"] for point in points]
    prediction = _predict(potential, [_stretched(case.atoms, distance) for distance in distances])
    forces = prediction["forces"].reshape(len(points), 2, 3)
    numbers = torch.as_tensor(case.atoms.numbers)[:, None].expand(2, len(points))
    bare, _, _ = zbl_pair_energy(torch.tensor(distances, dtype=torch.float64), *numbers, constant)
    values = {"energy": prediction["energy"], "force_on_second_x": forces[:, 1, 0], "unswitched": bare}
    for key, value in values.items():
        if all(key in point for point in points):
            yield Quantity(f"scan.{key}", value, [point[key] for point in points])


def _stretched(atoms: Atoms, distance: float) -> Atoms:
    """A pair at another distance, along the line through both."""
    moved, line = atoms.copy(), atoms.positions[1] - atoms.positions[0]
    moved.positions[1] = atoms.positions[0] + distance * line / np.linalg.norm(line)
    return moved


def _predict(potential: Potential, structures: list[Atoms]) -> dict[str, torch.Tensor]:
    graph = graph_of(structures, potential.neighbour_lists, torch.float64, classical=True)
    return potential(graph, stress=True)
