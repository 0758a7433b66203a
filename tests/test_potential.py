"""The composition: fields checked, terms added up in sight, precision of energies, compiled steps watched."""

import copy

import pytest
import torch

from eqff.build import ModelContext, allow, build_potential
from eqff.compilation.agreement import require_agreement
from eqff.construct import construct, locate
from eqff.errors import ConfigError, ModelError
from eqff.field_check import check_fields
from eqff.parts import Head, Term
from eqff.potential import Potential
from eqff.testing.graphs import graph_of
from eqff.testing.minimal import MinimalBackbone
from eqff.testing.structures import molecule

CONTEXT = ModelContext((1, 6, 7, 8), reference_energies={1: -13.6, 6: -1030.1, 7: -1485.3, 8: -2040.3})
MODEL = {
    "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone"},
    "terms": {
        "local": {"_target_": "eqff.terms.local.LocalEnergy"},
        "zbl": {"_target_": "eqff.terms.zbl.ZBLRepulsion", "inner": 0.5, "outer": 2.0, "relative": False},
    },
}


def graph(potential, dtype=torch.float32):
    return graph_of([molecule(seed, 6) for seed in range(3)], potential.neighbour_lists, dtype)


def test_total_is_the_sum_of_named_terms():
    potential = build_potential(MODEL, CONTEXT)
    prediction = potential(graph(potential))
    assert prediction["energy"].dtype == torch.float64
    torch.testing.assert_close(prediction["energy"], prediction["energy_local"] + prediction["energy_zbl"])
    assert prediction["energy_zbl"].abs().max() > 0


def test_reference_energies_survive_changes_of_precision():
    potential = build_potential(MODEL, CONTEXT, torch.float64).to(torch.float32).to(torch.float64)
    assert potential.terms["local"].reference.values[6].item() == -1030.1


class Reader(Term):
    reads = ("charges",)

    def forward(self, graph, fields):
        raise AssertionError("never run")


class Writer(Head):
    writes = ("charges",)

    def forward(self, graph, fields):
        raise AssertionError("never run")


def test_a_field_that_nothing_writes_is_named():
    with pytest.raises(ModelError, match=r"'terms.x' reads the field 'charges'.*No part writes it"):
        Potential(None, {"x": Reader()}, elements=(1,))


def test_a_field_that_is_written_too_late_is_named_with_its_writer():
    with pytest.raises(ModelError, match="'heads.q' writes it, but runs later"):
        check_fields({"terms.x": Reader(), "heads.q": Writer()})


def test_two_writers_of_a_field_are_refused():
    with pytest.raises(ModelError, match="'heads.b' and 'exchanges.a' both write the field 'charges'"):
        check_fields({"exchanges.a": Writer(), "heads.b": Writer()})


def test_a_potential_without_terms_is_refused():
    with pytest.raises(ModelError, match="at least one energy term"):
        Potential(MinimalBackbone((1,)), {}, elements=(1,))


def test_unknown_elements_are_named():
    potential = build_potential(MODEL, ModelContext((1, 6, 7), reference_energies={1: 0.0, 6: 0.0, 7: 0.0}))
    with pytest.raises(ModelError, match=r"does not know O \(Z=8\)"):
        potential(graph(potential))


def test_only_allowed_packages_are_constructed():
    with pytest.raises(ConfigError, match="not in an allowed package"):
        locate("os.system")
    with pytest.raises(ConfigError, match="can't stand here"):
        locate("eqff.errors.EqffError")
    allow("collections")
    with pytest.raises(ConfigError, match="can't stand here"):
        locate("collections.OrderedDict")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "has no '_target_'"),
        ({"_target_": "eqff.terms.local.LocalEnergi"}, "There is no 'eqff.terms.local.LocalEnergi'"),
        ({"_target_": "eqff.terms.local.LocalEnergy", "hiden": 3}, "Did you mean 'hidden'"),
        ({"_target_": "eqff.terms.local.LocalEnergy"}, "missing"),
    ],
)
def test_configs_that_cannot_be_built_say_why(config, message):
    with pytest.raises(ConfigError, match=message):
        construct(config, Term, {}, "model.terms.local")


def test_unknown_kinds_of_parts_are_named():
    with pytest.raises(ConfigError, match="Did you mean 'terms'"):
        build_potential({**MODEL, "term": {}}, CONTEXT)


def test_compiled_results_that_differ_are_refused():
    potential = build_potential(MODEL, CONTEXT)
    plain = potential(graph(potential), create_graph=False)
    require_agreement(plain, plain)
    for wrong in (plain["forces"] * 1.01, plain["forces"] * torch.nan):
        with pytest.raises(ModelError, match="other forces"):
            require_agreement({**plain, "forces": wrong}, plain)
    # an error that is little beside the elements' reference energies, and much beside all else
    with pytest.raises(ModelError, match="other energy"):
        require_agreement({**plain, "energy": plain["energy"] + 1.0}, plain)


@pytest.mark.slow
def test_a_copy_compiles_for_its_own_weights():
    potential = build_potential(MODEL, CONTEXT).train()
    potential.compile_training_step()
    first = potential(graph(potential))["forces"]
    other = copy.deepcopy(potential)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
    assert not torch.allclose(other(graph(other))["forces"], first)
    torch.testing.assert_close(
        other(graph(other))["forces"], other(graph(other), create_graph=False)["forces"], rtol=1e-4, atol=1e-4
    )


def test_forces_are_refused_in_inference_mode():
    """There they would be zero."""
    potential = build_potential(MODEL, CONTEXT).eval()
    batch = graph(potential)
    with torch.inference_mode():
        assert potential(batch, forces=False)["energy"].isfinite().all()
        with pytest.raises(ModelError, match="no_grad"):
            potential(batch)
    with torch.no_grad():
        assert potential(batch)["forces"].any()
