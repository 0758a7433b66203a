"""Structures without atoms, alone and beside others: energy zero, and nobody else's changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from eqff.build import ModelContext, build_potential
from eqff.testing.graphs import graph_of

QEQ = {"H": 13.0, "O": 12.0}
EQUILIBRATION = {
    "_target_": "eqff.heads.tabulated_equilibration.TabulatedEquilibration",
    "electronegativity": {"H": 4.5, "O": 8.7},
    "hardness": QEQ,
    "widths": {"H": 0.5, "O": 0.6},
}
POLARIZABLE = {
    "charges": {
        "_target_": "eqff.heads.formal_charges.FormalCharges",
        "charges": {"H": 0.4, "O": -0.8},
        "require_total": False,
    },
    "alpha": {
        "_target_": "eqff.heads.polarizabilities.TabulatedPolarizabilities",
        "values": {"H": 0.5, "O": 0.8},
    },
}
MODELS = {
    "equilibration": ({"q": EQUILIBRATION}, {"_target_": "eqff.terms.field_energy.FieldEnergy"}),
    "induction": (POLARIZABLE, {"_target_": "eqff.terms.induction.Induction"}),
    "d4": ({}, {"_target_": "eqff.terms.d4.D4", "functional": "pbe", "three_body": False}),
    "mbd": ({}, {"_target_": "eqff.terms.mbd.ManyBodyDispersion", "beta": 0.83, "cutoff": 9.0}),
    "tkatchenko_scheffler": ({}, {"_target_": "eqff.terms.tkatchenko_scheffler.TkatchenkoScheffler", "sr": 0.94}),
}


PERIODICITIES = (False, (True, False, False), (True, True, False), True)


@pytest.mark.parametrize("name", MODELS)
def test_empty_structures_change_nothing(name):
    heads, term = MODELS[name]
    potential = build_potential({"heads": heads, "terms": {"t": term}}, ModelContext((1, 8), {}), torch.float64).eval()
    empties = [Atoms(cell=np.diag([4.0, 5.0, 6.0]), pbc=pbc) for pbc in PERIODICITIES]
    crystal = bulk("O", "sc", a=3.2) + Atoms("H", [[1.6, 1.6, 1.0]])
    water = Atoms("OHH", np.array([[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]]))

    def predict(*frames):
        graph = graph_of(frames, potential.neighbour_lists, torch.float64, classical=True)
        found = potential(graph, stress=True)
        return found["energy"].tolist(), found["forces"]

    assert predict(empties[0])[0] == [0.0] and predict(*empties)[0] == [0.0] * len(empties)
    for frame in (water, crystal):
        (expected,), forces = predict(frame)
        energies, beside = predict(*empties, frame, empties[0])
        assert energies == pytest.approx([0.0] * len(empties) + [expected, 0.0], abs=1e-12)
        torch.testing.assert_close(beside, forces, rtol=0, atol=1e-10)
