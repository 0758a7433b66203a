"""Cases ``mbd_*`` of topic ``dispersion``: Tkatchenko-Scheffler, MBD@rsSCS and MBD without screening."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.derivatives import differentiate
from eqff.dispersion.all_pairs import AllPairs, pair_lists
from eqff.dispersion.free_atoms import DispersionAtoms, FreeAtoms
from eqff.dispersion.mbd.energy import many_body_dispersion
from eqff.dispersion.mbd.settings import MBDSettings
from eqff.dispersion.tkatchenko_scheffler import ts_energy
from eqff.longrange.tuning import Splitting
from eqff.nn.reduce import segment_sum
from eqff.testing.graphs import graph_of
from eqff.testing.reference.case import Quantity, ReferenceCase

CUTOFF, ACCURACY = 22.0, 1e-14


def quantities(case: ReferenceCase) -> Iterator[Quantity]:
    """All energies, forces and stresses of the case, its screened coefficients, and the free-atom table itself."""
    parameters, splitting = case.parameters, Splitting.of(CUTOFF, ACCURACY)
    atoms = DispersionAtoms(*(_tensor(parameters[key]) for key in ("alpha_0", "c6_eV_A6", "r_vdw")))
    graph = graph_of([case.atoms], pair_lists(CUTOFF), torch.float64, classical=True)
    yield from _table(case, atoms)
    method, damping = parameters["mbd"], parameters["ts"]
    energy = partial(_ts, atoms, splitting, damping["s_R"], damping["d"])
    yield from _derivatives(case, "ts", differentiate(energy, graph, stress=True))
    for name, screening in (("mbd_plain", False), ("mbd_rsscs", True)):
        settings = MBDSettings(
            beta=method["beta"],
            steepness=method["a"],
            screening=screening,
            frequencies=method["n_freq"],
            grid=parameters.get("k_grid"),
            splitting=splitting,
        )
        result = differentiate(partial(_mbd, atoms, settings), graph, stress=True)
        yield from _derivatives(case, name, result)
    yield Quantity("energy", result["energy"][0])
    yield Quantity("forces", result["forces"])
    expected = case.results.get("mbd_rsscs") or {}
    for name in ("alpha_0_rsscs", "c6_rsscs", "molecular_polarizability_rsscs"):
        if expected.get(name) is not None:
            yield Quantity(f"mbd_rsscs.{name}", result[name], expected[name], tolerance_of="forces")


def _table(case: ReferenceCase, atoms: DispersionAtoms) -> Iterator[Quantity]:
    """Free atoms, scaled by the case's volume ratios."""
    if "volume_ratios" not in case.parameters:
        return
    numbers = torch.as_tensor(case.atoms.numbers)
    ours = FreeAtoms(tuple(set(numbers.tolist())))(numbers, _tensor(case.parameters["volume_ratios"]))
    for name in ("polarizability", "c6", "radius"):
        value, expected = getattr(ours, name), getattr(atoms, name)
        yield Quantity(f"free_atoms.{name}", value, expected, tolerance_of="energy")


def _derivatives(case: ReferenceCase, method: str, result: dict[str, Tensor]) -> Iterator[Quantity]:
    expected = case.results.get(method) or {}
    for name in ("energy", "forces", "stress"):
        if expected.get(name) is not None:
            value = result[name] if name == "forces" else result[name][0]
            other = "forces" if name == "stress" else None
            yield Quantity(f"{method}.{name}", value, expected[name], tolerance_of=other)


def _ts(
    atoms: DispersionAtoms, splitting: Splitting, sr: float, steepness: float, graph: AtomicGraph
) -> tuple[Tensor, dict[str, Tensor]]:
    each = ts_energy(graph, AllPairs.of(graph, splitting.cutoff), atoms, splitting, sr, steepness)
    return segment_sum(each, graph.batch, graph.num_structures), {}


def _mbd(atoms: DispersionAtoms, settings: MBDSettings, graph: AtomicGraph) -> tuple[Tensor, dict[str, Tensor]]:
    found = many_body_dispersion(graph, atoms, settings)
    if found.screened is None:
        return found.energy, {}
    screened = found.screened
    return found.energy, {
        "alpha_0_rsscs": screened.atoms.polarizability,
        "c6_rsscs": screened.atoms.c6,
        "molecular_polarizability_rsscs": screened.molecular[0],
    }


def _tensor(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
