"""No contribution to the energy twice, and none of an external field left out in silence."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

from eqff.build import ModelContext, build_potential
from eqff.errors import ModelError
from eqff.response.from_energy import energy_response
from eqff.testing.graphs import graph_of
from eqff.testing.structures import molecule

BACKBONE = {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 1, "cutoff": 3.0}
INFERRED = {"_target_": "eqff.heads.charges.Charges", "hidden": 4}
EQUILIBRATED = {"_target_": "eqff.heads.charge_equilibration.ChargeEquilibration", "hidden": 4}
ALPHA = {
    "_target_": "eqff.heads.polarizabilities.TabulatedPolarizabilities",
    "values": {"H": 0.4, "C": 1.0, "N": 0.8, "O": 0.7},
}
PERMANENT = {"_target_": "eqff.heads.multipoles.AtomicDipoles", "hidden": 4}
COULOMB = {"_target_": "eqff.terms.coulomb.Coulomb"}
MULTIPOLES = {"_target_": "eqff.terms.multipoles.Multipoles", "dipoles": None, "quadrupoles": None}
DIPOLES = {**MULTIPOLES, "charges": None, "dipoles": "atomic_dipoles"}
EQUILIBRATION = {"_target_": "eqff.terms.field_energy.FieldEnergy"}
INDUCTION = {"_target_": "eqff.terms.induction.Induction"}
FIELD = {"_target_": "eqff.terms.uniform_field.UniformField"}


def potential_of(terms, charges=INFERRED, more=None):
    heads = {"charges": charges, "polarizabilities": ALPHA, "dipoles": PERMANENT} | (more or {})
    config = {"backbone": BACKBONE, "heads": heads, "terms": terms}
    return build_potential(config, ModelContext((1, 6, 7, 8), {}), torch.float64).eval()


def told(potential, caplog, times=1):
    graph = graph_of([molecule(1, 4)], potential.neighbour_lists, torch.float64)
    with caplog.at_level(logging.WARNING, logger="eqff"):
        potential(graph)
        assert not caplog.records
        for _ in range(times):
            potential(replace(graph, electric_field=torch.full((1, 3), 0.1, dtype=torch.float64)))
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("terms", "charges", "message"),
    [
        ({"a": EQUILIBRATION, "b": EQUILIBRATION}, EQUILIBRATED, "'terms.b' both hold the energy in the field equili"),
        ({"a": DIPOLES, "b": DIPOLES}, INFERRED, "'terms.b' both hold the Coulomb energy of atomic_dipoles"),
        ({"a": COULOMB, "b": MULTIPOLES}, INFERRED, "'terms.a' and 'terms.b' both hold the Coulomb energy of charges"),
        ({"a": EQUILIBRATION, "b": COULOMB}, EQUILIBRATED, "'heads.charges' and 'terms.b' both hold the Coulomb"),
        ({"a": EQUILIBRATION, "b": FIELD}, EQUILIBRATED, "'terms.b' both hold the energy of charges in an external"),
    ],
)
def test_what_would_be_counted_twice_is_refused(terms, charges, message):
    with pytest.raises(ModelError, match=message):
        potential_of(terms, charges)


def test_charges_without_energy_in_the_field_are_told_once(caplog):
    (message,) = told(potential_of({"induction": INDUCTION}), caplog, times=3)
    assert "no part of this model holds the energy of charges in it" in message


def test_so_are_equilibrated_charges_whose_energy_is_not_that_of_equilibration(caplog):
    """4G: the field moves them, but -F·r q is in nobody's energy."""
    assert len(told(potential_of({"coulomb": COULOMB}, EQUILIBRATED), caplog)) == 1


@pytest.mark.parametrize("reader", [{}, {"dipole": {"_target_": "eqff.heads.dipole.Dipole"}}], ids=["alone", "dipole"])
def test_equilibrated_charges_without_an_energy_are_refused_in_a_field(reader):
    """The field moves them, but neither energy nor forces would know."""
    repulsion = {"_target_": "eqff.terms.zbl.ZBLRepulsion", "inner": 0.5, "outer": 1.0}
    potential = potential_of({"zbl": repulsion}, EQUILIBRATED, reader)
    graph = graph_of([molecule(1, 4)], potential.neighbour_lists, torch.float64)
    potential(graph)
    inside = replace(graph, electric_field=torch.full((1, 3), 0.1, dtype=torch.float64))
    for ask in (lambda: potential(inside), lambda: energy_response(potential, graph)):
        with pytest.raises(ModelError, match=r"No energy of this model follows .* \+term@model.terms.uniform_field"):
            ask()


@pytest.mark.parametrize(
    ("terms", "charges"),
    [
        ({"induction": INDUCTION, "coulomb": COULOMB, "field": FIELD}, INFERRED),
        ({"equilibration": EQUILIBRATION, "induction": INDUCTION}, EQUILIBRATED),
        ({"coulomb": COULOMB, "field": FIELD}, EQUILIBRATED),
    ],
)
def test_whole_energies_are_silent_and_their_derivative_is_the_dipole(terms, charges, caplog):
    potential = potential_of(terms, charges)
    assert not told(potential, caplog)
    graph = graph_of([molecule(1, 4)], potential.neighbour_lists, torch.float64)
    assert energy_response(potential, graph).dipole.abs().max() > 0
    assert not caplog.records


def test_derivatives_by_the_field_tell_it_too(caplog):
    potential = potential_of({"induction": INDUCTION, "coulomb": COULOMB})
    with caplog.at_level(logging.WARNING, logger="eqff"):
        energy_response(potential, graph_of([molecule(1, 4)], potential.neighbour_lists, torch.float64))
    assert len(caplog.records) == 1
