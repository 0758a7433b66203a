"""Induction term: the battery for each mode and solver, and what the modes are to each other."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from ase import Atoms

from eqff.errors import ConfigError
from eqff.longrange.multipoles.interaction import MultipoleInteraction
from eqff.terms.induction import Induction
from eqff.testing.battery import MINIMAL_BACKBONE, TermBattery
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, molecule

TARGET = "eqff.terms.induction.Induction"
CHARGES = {1: 0.4, 6: -0.3, 7: 0.7, 8: -0.6}
POLARIZABILITIES = {1: 0.4, 6: 1.0, 7: 0.0, 8: 0.7}
TABLES = {
    "charges": {
        "_target_": "eqff.heads.formal_charges.FormalCharges",
        "charges": CHARGES,
        "require_total": False,
    },
    "polarizabilities": {
        "_target_": "eqff.heads.polarizabilities.TabulatedPolarizabilities",
        "values": POLARIZABILITIES,
    },
}


class InductionBattery(TermBattery):
    """With charges and polarizabilities by element, zero for one: no learned part at all."""

    heads = TABLES
    conserves = ()

    def test_far_fragments_add_up(self) -> None:
        pytest.skip("the field of charges reaches any distance")


class TestDense(InductionBattery):
    term = {"_target_": TARGET, "cutoff": 7.0, "accuracy": 1e-12}


@pytest.mark.slow
class TestIterative(InductionBattery):
    term = {"_target_": TARGET, "cutoff": 7.0, "accuracy": 1e-12, "dense_up_to": 0, "tolerance": 1e-14}


@pytest.mark.slow
class TestDirect(InductionBattery):
    term = {"_target_": TARGET, "cutoff": 7.0, "accuracy": 1e-12, "mode": "direct"}


@pytest.mark.slow
class TestSteps(InductionBattery):
    term = {"_target_": TARGET, "cutoff": 7.0, "accuracy": 1e-12, "mode": "steps", "steps": 2}


class TestLearned(TermBattery):
    """Charges and polarizability tensors that follow the geometry: forces and training go through both."""

    backbone = MINIMAL_BACKBONE
    heads = {
        "charges": {"_target_": "eqff.heads.charges.Charges", "hidden": 4},
        "polarizabilities": {
            "_target_": "eqff.heads.polarizabilities.Polarizabilities",
            "hidden": 4,
            "start": {1: 0.4, 6: 1.0, 7: 0.8, 8: 0.7},
        },
    }
    term = {"_target_": TARGET, "cutoff": 8.0, "accuracy": 1e-12}

    def test_far_fragments_add_up(self) -> None:
        pytest.skip("charges made to sum up over both fragments are not those of each")


STRUCTURES = [molecule(1, 6), crystal(2, 4), molecule(3, 1, total_charge=1)]
LISTS = MultipoleInteraction(cutoff=5.0).neighbour_lists


def system(structures=STRUCTURES):
    """A batch with moments of every rank, polarizabilities and molecule numbers."""
    graph = graph_of(structures, LISTS, torch.float64)
    generator = torch.Generator().manual_seed(0)
    count = graph.num_atoms
    quadrupoles = 0.1 * torch.randn(count, 3, 3, generator=generator, dtype=torch.float64)
    fields = {
        "charges": 0.3 * torch.randn(count, generator=generator, dtype=torch.float64),
        "atomic_dipoles": 0.1 * torch.randn(count, 3, generator=generator, dtype=torch.float64),
        "atomic_quadrupoles": quadrupoles + quadrupoles.transpose(1, 2),
        "atomic_polarizabilities": 0.6 * torch.eye(3, dtype=torch.float64).repeat(count, 1, 1),
        "groups": torch.arange(count) // 2,
    }
    return graph, fields


def term(**settings):
    moments = {"dipoles": "atomic_dipoles", "quadrupoles": "atomic_quadrupoles"}
    return Induction(cutoff=5.0, accuracy=1e-5, **(moments | settings))


def test_energy_by_the_electric_field_is_minus_the_induced_dipoles():
    """For every mode: also direct and few steps have dipoles and an energy that belong together to first order."""
    graph, fields = system()
    for settings in ({}, {"dense_up_to": 0, "tolerance": 1e-12}, {"mode": "direct"}):
        field = torch.full((3, 3), 0.05, dtype=torch.float64, requires_grad=True)
        found = term(**settings)(dataclasses.replace(graph, electric_field=field), fields)
        slope = torch.autograd.grad(found["energy"].sum(), field)[0]
        total = torch.zeros(3, 3, dtype=torch.float64).index_add(0, graph.batch, found["induced_dipoles"])
        torch.testing.assert_close(-slope, total.detach(), rtol=1e-8, atol=1e-10)


def test_modes_approach_the_converged_one():
    graph, fields = system()
    exact = term()(graph, fields)["energy"]
    direct, two, many = (
        term(**settings)(graph, fields)["energy"]
        for settings in ({"mode": "direct"}, {"mode": "steps", "steps": 2}, {"mode": "steps", "steps": 40})
    )
    assert bool(((direct - exact).abs() >= (two - exact).abs()).all())
    torch.testing.assert_close(many, exact, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(term(mode="steps", steps=0)(graph, fields)["energy"], direct)


def test_molecules_do_not_polarize_themselves_but_couple():
    """One molecule alone: without a field of others nothing is induced; with an external one its atoms couple."""
    graph, fields = system([molecule(1, 2)])
    assert float(term(groups="groups")(graph, fields)["induced_dipoles"].abs().max()) < 1e-14
    assert float(term()(graph, fields)["induced_dipoles"].abs().max()) > 1e-3
    outside = dataclasses.replace(graph, electric_field=torch.ones(1, 3, dtype=torch.float64))
    mutual, direct = (term(groups="groups", mode=mode)(outside, fields)["induced_dipoles"] for mode in MODES)
    assert float((mutual - direct).abs().max()) > 1e-2 * float(direct.abs().max())


MODES = ("mutual", "direct")


def test_without_permanent_moments_only_the_external_field_acts():
    graph, fields = system()
    bare = Induction(charges=None, cutoff=5.0, accuracy=1e-5)
    assert not bare(graph, fields)["energy"].any()
    assert bool(
        (bare(dataclasses.replace(graph, electric_field=graph.electric_field + 0.1), fields)["energy"] < 0).all()
    )


@pytest.mark.parametrize("dense_up_to", [0, 100], ids=["iterative", "dense"])
def test_structures_without_atoms(dense_up_to):
    """A batch may hold them; their energy is zero."""
    empty = Atoms(info={"total_charge": 0, "multiplicity": 1})
    graph, fields = system([molecule(1, 3), empty, molecule(2, 4)])
    alone, part = system([molecule(1, 3)])
    found = term(dense_up_to=dense_up_to)(graph, fields)
    expected = term(dense_up_to=dense_up_to)(alone, {name: value[:3] for name, value in fields.items()})
    assert float(found["energy"][1]) == 0.0
    torch.testing.assert_close(found["energy"][0], expected["energy"][0])


def test_settings_that_do_not_go_together():
    with pytest.raises(ConfigError, match="steps belongs to mode=steps"):
        Induction(steps=3)
    with pytest.raises(ConfigError, match="steps belongs to mode=steps"):
        Induction(mode="steps")
