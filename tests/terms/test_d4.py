"""D4: the battery, with charges of its own and of the model."""

from dataclasses import replace

import pytest
import torch

from eqff.terms.d4 import D4
from eqff.testing.battery import MINIMAL_BACKBONE, TermBattery
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, molecule

TARGET = "eqff.terms.d4.D4"


class TestEquilibrated(TermBattery):
    term = {
        "_target_": TARGET,
        "functional": "pbe",
        "cutoff": 4.5,
        "three_body_cutoff": 2.8,
        "fade": 1.0,
        "accuracy": 1e-12,
    }

    def test_far_fragments_add_up(self) -> None:
        pytest.skip("equilibration moves charge between fragments however far apart they are")


class TestChargesOfTheModel(TermBattery):
    backbone = MINIMAL_BACKBONE
    heads = {"charges": {"_target_": "eqff.heads.charges.Charges", "hidden": 4}}
    term = {
        "_target_": TARGET,
        "functional": "pbe",
        "charges": "charges",
        "three_body": False,
        "cutoff": 4.5,
        "fade": 1.0,
    }

    def test_far_fragments_add_up(self) -> None:
        pytest.skip("the head shares what is missing from the total charge over all atoms, however far apart")


def test_every_element_of_the_tables_is_covered():
    """Hydrides of the elements up to the last, whose energies dftd4 4.3.1 gives."""
    from ase import Atoms

    from eqff.potential import Potential

    term = D4((1, 96, 103), "pbe", fade=0.0, tail=False)
    potential = Potential(None, {"d4": term}, elements=(1, 96, 103))
    frames = [Atoms([z, 1, 1], [[0, 0, 0], [0, 0, 2.1], [0, 2.2, 0]]) for z in (96, 103)]
    found = potential(graph_of(frames, potential.neighbour_lists, torch.float64, classical=True), forces=False)
    assert found["energy"].tolist() == pytest.approx([-0.035370080069320076, -0.030050668013163064], abs=1e-8)


def test_no_size_is_factorised_and_on_a_mesh():
    """A mesh gives no matrix: crystals of exactly 500 atoms were refused."""
    from eqff.dispersion.d4.eeq import DENSE_UP_TO, EEQCharges

    assert EEQCharges((1, 8), 1e-6).interaction.mesh_from > DENSE_UP_TO


def test_an_external_field_changes_nothing():
    """Nor is one along a lattice vector refused: D4's charges are those that its references were made with."""
    term = D4((1, 6, 7, 8), "pbe", cutoff=6.0, three_body=False)
    graph = graph_of([molecule(1), crystal(2)], term.neighbour_lists, torch.float64)
    inside = replace(graph, electric_field=torch.full((2, 3), 0.5, dtype=torch.float64, requires_grad=True))
    energy = term(inside, {})["energy"]
    torch.testing.assert_close(energy, term(graph, {})["energy"], rtol=0, atol=0)
    assert not energy.requires_grad
