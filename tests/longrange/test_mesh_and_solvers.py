"""Structures that are small enough to be factorised but summed on a mesh, which gives no matrix: iterations."""

from __future__ import annotations

import pytest
import torch
from ase.build import bulk

from eqff.build import ModelContext, build_potential
from eqff.testing.graphs import graph_of

CHARGES = {
    "_target_": "eqff.heads.tabulated_equilibration.TabulatedEquilibration",
    "electronegativity": {"Na": 2.8, "Cl": 8.5},
    "hardness": {"Na": 5.0, "Cl": 9.0},
    "widths": {"Na": 0.8, "Cl": 0.7},
    "accuracy": 1e-8,
    "tolerance": 1e-12,
}
FORMAL = {"_target_": "eqff.heads.formal_charges.FormalCharges", "charges": {"Na": 1, "Cl": -1}}
POLARIZABLE = {
    "_target_": "eqff.heads.polarizabilities.TabulatedPolarizabilities",
    "values": {"Na": 0.2, "Cl": 3.0},
}
ENERGY = {"_target_": "eqff.terms.field_energy.FieldEnergy"}
INDUCTION = {"_target_": "eqff.terms.induction.Induction", "cutoff": 7.0, "accuracy": 1e-8, "tolerance": 1e-12}


def settled(mesh_from, kind):
    if kind == "charges":
        return {"heads": {"q": CHARGES | {"mesh_from": mesh_from}}, "terms": {"t": ENERGY}}
    return {"heads": {"q": FORMAL, "alpha": POLARIZABLE}, "terms": {"t": INDUCTION | {"mesh_from": mesh_from}}}


@pytest.mark.parametrize("kind", ["charges", "dipoles"])
def test_small_structures_on_a_mesh(kind):
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.rattle(0.3, seed=2)
    found = []
    for mesh_from in (500, 1):
        potential = build_potential(settled(mesh_from, kind), ModelContext((11, 17), {}), torch.float64).eval()
        found.append(potential(graph_of([atoms], potential.neighbour_lists, torch.float64, classical=True)))
    waves, mesh = found
    torch.testing.assert_close(mesh["energy"], waves["energy"], rtol=1e-6, atol=0)
    torch.testing.assert_close(mesh["forces"], waves["forces"], rtol=0, atol=3e-6)
