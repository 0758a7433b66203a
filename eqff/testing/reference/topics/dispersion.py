"""Topic ``dispersion``: D3(BJ), D3(0), Axilrod-Teller-Muto and D4; Tkatchenko-Scheffler and MBD by their own module."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.dispersion.cutoffs import Cutoff
from eqff.dispersion.references import PairCoefficients
from eqff.dispersion.two_body import TwoBody
from eqff.parts import Term
from eqff.potential import Potential
from eqff.terms.d3 import D3
from eqff.terms.d4 import D4
from eqff.testing.graphs import graph_of
from eqff.testing.reference import many_body_dispersion
from eqff.testing.reference.case import Quantity, ReferenceCase
from eqff.units import BOHR

CUTOFFS = {"two_body": 60.0, "three_body": 40.0, "cn": 40.0}
"""Bohr; of the programs that made the cases, for those that don't say."""
WHOLE = Cutoff(100 * BOHR, 60 * BOHR)
"""With which, and the uniform tail, the sum over pairs has converged to 1e-8 eV in the cases' crystals."""
RADII_IN_BOHR = 0.529177210903 / 0.52917721067
"""The program that gave CN and C6, but not the energies, keeps covalent radii in bohr of CODATA 2014."""
UNUSED = {"a1": 0.4, "a2": 4.0}
"""For triples alone, whose cases don't have them."""
ACCURACY = 1e-14
"""Of the lattice sums of D4's charges."""
NAMES = ("s6", "s8", "s9", "a1", "a2", "rs6", "rs8", "alp")


def quantities(case: ReferenceCase) -> Iterator[Quantity]:
    """Energies, forces and stress, whole and by parts, and the coefficients."""
    if "mbd" in case.parameters:
        yield from many_body_dispersion.quantities(case)
    elif case.parameters.get("method") == "D4":
        yield from _d4(case)
    else:
        yield from _d3(case)


def _d3(case: ReferenceCase) -> Iterator[Quantity]:
    cutoffs = {name: value * BOHR for name, value in case.parameters.get("cutoffs_bohr", CUTOFFS).items()}
    stated = {"alp": case.parameters["atm_alpha"]} if "atm_alpha" in case.parameters else {}
    given = UNUSED | stated | {name: case.parameters[name] for name in NAMES if name in case.parameters}
    damping = "zero" if "rs6" in given else "bj"
    given = {name: value for name, value in given.items() if damping == "bj" or name not in UNUSED}
    within = {"cutoff": cutoffs["two_body"], "coordination_cutoff": cutoffs["cn"], "fade": 0.0, "tail": False}
    predict = partial(_d3_prediction, case, damping=damping)
    pairs = predict(parameters=given, **within)
    alone = given | {"s6": 0.0, "s8": 0.0, "s9": 1.0}
    triples = predict(parameters=alone, three_body=True, three_body_cutoff=cutoffs["three_body"], **within)
    scale = case.parameters.get("s9", 0.0)
    for name in ("energy", "forces", "stress"):
        yield from _if_known(case, name, pairs[name] + scale * triples[name])
        yield from _if_known(case, f"{name}_two_body", pairs[name])
        yield from _if_known(case, f"{name}_atm", triples[name])
    for order, without in ((6, "s8"), (8, "s6")):
        part = predict(parameters=given | {without: 0.0}, **within)
        yield from _if_known(case, f"energy_{order}_only", part["energy"])
    if "energy_two_body_no_cutoff" in case.results:
        whole = predict(parameters=given, whole=True, **within)
        for name in ("energy", "forces"):
            yield from _if_known(case, f"{name}_two_body_no_cutoff", whole[name])
    yield from _if_known(case, "cn", pairs["coordination"], tolerance_of="forces")
    yield from _if_known(case, "c6_eV_A6", pairs["c6"], tolerance_of="forces")


def _d3_prediction(case: ReferenceCase, whole: bool = False, **settings: Any) -> dict[str, Tensor]:
    term = D3(_elements(case), **settings)
    if whole:
        term.two_body = TwoBody(term.two_body.damping, WHOLE, tail=True)
    graph, result = _prediction(case, term)
    term.covalent_radii = term.covalent_radii * RADII_IN_BOHR
    coordination, coefficients = term.of_atoms(graph)
    return result | {"coordination": coordination, "c6": _all_c6(coefficients)}


def _d4(case: ReferenceCase) -> Iterator[Quantity]:
    cutoffs = {name: value * BOHR for name, value in case.parameters.get("cutoffs_bohr", CUTOFFS).items()}
    term = D4(
        _elements(case),
        case.parameters.get("functional"),
        parameters={name: case.parameters[name] for name in NAMES if name in case.parameters},
        cutoff=cutoffs["two_body"],
        three_body_cutoff=cutoffs["three_body"],
        fade=0.0,
        tail=False,
        accuracy=ACCURACY,
    )
    graph, result = _prediction(case, term)
    atoms = term.of_atoms(graph, {})
    yield Quantity("energy", result["energy"])
    yield Quantity("forces", result["forces"])
    yield Quantity("stress", result["stress"], tolerance_of="forces")
    yield Quantity("eeq_charges", atoms.charges)
    yield Quantity("cn", atoms.coordination, tolerance_of="eeq_charges")
    yield Quantity("polarizabilities", atoms.polarizabilities, tolerance_of="eeq_charges")
    yield Quantity("c6_eV_A6", _all_c6(atoms.coefficients), tolerance_of="eeq_charges")


def _elements(case: ReferenceCase) -> tuple[int, ...]:
    return tuple(sorted(set(case.atoms.numbers.tolist())))


def _prediction(case: ReferenceCase, term: Term) -> tuple[AtomicGraph, dict[str, Tensor]]:
    """The batch of the case alone, and energy, forces (N, 3) and stress (3, 3)."""
    potential = Potential(None, {"term": term}, elements=_elements(case)).double().eval()
    graph = graph_of([case.atoms], potential.neighbour_lists, torch.float64, classical=True)
    result = potential(graph, stress=True)
    return graph, {"energy": result["energy"][0], "forces": result["forces"], "stress": result["stress"][0]}


def _all_c6(coefficients: PairCoefficients) -> Tensor:
    """(N, N)."""
    count = len(coefficients.species)
    every = torch.arange(count)
    return coefficients.c6(every.repeat_interleave(count), every.repeat(count)).reshape(count, count)


def _if_known(case: ReferenceCase, name: str, value: Tensor, tolerance_of: str | None = None) -> Iterator[Quantity]:
    if case.results.get(name) is not None:
        yield Quantity(name, value, tolerance_of=tolerance_of)
