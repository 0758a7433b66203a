"""Charge equilibration from tables: the battery for each kernel, and tables that don't fit."""

import pytest
import torch

from eqff.errors import ConfigError, ModelError
from eqff.heads.tabulated_equilibration import TabulatedEquilibration
from eqff.testing.battery import TermBattery
from eqff.testing.graphs import graph_of
from eqff.testing.structures import molecule

CHI = {"H": 4.5, "C": 5.3, "N": 6.9, "O": 8.7}
HARDNESS = {"H": 13.0, "C": 10.0, "N": 11.0, "O": 13.0}
WIDTHS = {"H": 0.4, "C": 0.6, "N": 0.55, "O": 0.5}
TABLES = {"electronegativity": CHI, "hardness": HARDNESS, "widths": WIDTHS}


class Tabulated(TermBattery):
    term = {"_target_": "eqff.terms.field_energy.FieldEnergy"}
    settings = {}
    perturbation = 0.0

    @property
    def heads(self):
        target = "eqff.heads.tabulated_equilibration.TabulatedEquilibration"
        return {"charges": {"_target_": target, **TABLES, **self.settings}}

    def test_far_fragments_add_up(self) -> None:
        pytest.skip("equilibration moves charge between fragments however far apart they are")


class TestSlater(Tabulated):
    settings = {
        "kernel": "slater",
        "cutoff": 7.0,
        "accuracy": 1e-11,
        "widths": {"H": 0.25, "C": 0.4, "N": 0.3, "O": 0.35},
    }


class TestShielded(Tabulated):
    settings = {
        "kernel": "shielded",
        "cutoff": 5.0,
        "hardness": dict.fromkeys(HARDNESS, 20.0),
        "widths": {"H": 1.3, "C": 1.1, "N": 1.15, "O": 1.1},
    }


def test_oxygen_takes_charge_from_hydrogen():
    head = TabulatedEquilibration(**TABLES, elements=(1, 6, 7, 8))
    atoms = molecule(1, 6, total_charge=1)
    graph = graph_of([atoms], head.neighbour_lists, torch.float64)
    charges = head(graph, {})["charges"]
    assert float(charges.sum()) == pytest.approx(1, abs=1e-12)
    order = charges[torch.argsort(graph.numbers)]
    assert float(order[0]) > float(order[-1])


def test_tables_that_do_not_fit():
    with pytest.raises(ConfigError, match="hardness: none given for O"):
        TabulatedEquilibration(CHI, {"H": 1.0}, WIDTHS, (1, 8))
    with pytest.raises(ConfigError, match="widths: there is no element 'Hx'"):
        TabulatedEquilibration(CHI, HARDNESS, {"Hx": 1.0}, (1, 8))
    with pytest.raises(ConfigError, match="above 0 Å"):
        TabulatedEquilibration(CHI, HARDNESS, {"H": 0.0, "O": 1.0}, (1, 8))
    with pytest.raises(ModelError, match="Raise cutoff"):
        TabulatedEquilibration(CHI, HARDNESS, {"H": 3.0, "O": 1.0}, (1, 8))
