"""Parts that compile for open structures only: the same numbers and refusals as uncompiled, and no other batch."""

import logging
from dataclasses import replace

import pytest
import torch
from ase import Atoms

from eqff.backbones.equivariant import EquivariantMessagePassing
from eqff.compilation.prediction import CompiledPrediction
from eqff.derivatives import differentiate
from eqff.errors import ModelError
from eqff.exchange.spin_equilibration import NeutralSpinEquilibration
from eqff.heads.dipole import Dipole
from eqff.heads.formal_charges import FormalCharges
from eqff.potential import Potential
from eqff.terms.coulomb import Coulomb
from eqff.terms.local import LocalEnergy
from eqff.testing.graphs import graph_of, on_each_other
from eqff.testing.structures import crystal, molecule

ENERGIES = dict.fromkeys((1, 6, 7, 8), 0.0)
SWITCHED = {"short_range": "switch", "switch": (1.0, 5.0)}
SUMS = {
    "points": {},
    "switched": SWITCHED,
    "gaussian": {"short_range": "gaussian", "width": 0.7},
    "shifted force": {"method": "dsf", "cutoff": 9.0},
    "wolf": {"method": "wolf", "cutoff": 9.0},
}


def charged_potential(**settings) -> Potential:
    """The flagship in small: charges and spin charges after each pass, their Coulomb energy and dipole."""
    torch.manual_seed(0)
    size = {"channels": 4, "degree": 1, "order": 2, "radial_hidden": 4, "radial_size": 4}
    backbone = EquivariantMessagePassing(tuple(ENERGIES), 8.0, **size)
    sizes = (backbone.channels, backbone.num_passes)
    terms = {"local": LocalEnergy(*sizes, ENERGIES, hidden=4), "coulomb": Coulomb(**settings)}
    potential = Potential(
        backbone,
        terms,
        {"dipole": Dipole(atomic_dipoles=False)},
        {"equilibration": NeutralSpinEquilibration(*sizes, hidden=4, scale=1.0)},
        elements=tuple(ENERGIES),
    )
    return potential.double().train()


def ion(seed: int, atoms: int, charge: int) -> Atoms:
    structure = molecule(seed, atoms)
    electrons = int(structure.numbers.sum()) - charge
    structure.info.update(total_charge=charge, multiplicity=1 + electrons % 2)
    return structure


def ions(potential: Potential, *sizes: int, more: tuple[Atoms, ...] = ()):
    structures = [ion(seed, size, (0, 1, -1)[seed % 3]) for seed, size in enumerate(sizes)]
    return graph_of([*structures, *more], potential.neighbour_lists, torch.float64)


def slopes(potential: Potential, prediction: dict[str, torch.Tensor]):
    """By the weights, of a loss on everything that can have a label."""
    named = (*potential.predicts, *potential.per_pass)
    labels = [prediction[name] for name in named if name in prediction]
    loss = sum((value * torch.linspace(0.5, 1.5, value.numel()).view_as(value)).square().sum() for value in labels)
    trained = [p for p in potential.parameters() if p.requires_grad]
    return torch.autograd.grad(loss, trained, allow_unused=True, materialize_grads=True)


@pytest.fixture(scope="module")
def compiled() -> CompiledPrediction:
    return CompiledPrediction(charged_potential(**SWITCHED), "none")


def require_same(compiled: CompiledPrediction, *sizes: int, rounding: float = 1e-12) -> dict[str, torch.Tensor]:
    """All fields and derivatives of losses on them for ions of these sizes; gives the uncompiled fields."""
    potential = compiled._potential
    graph = ions(potential, *sizes)
    found, plain = compiled(graph, False), differentiate(potential.energy, graph, create_graph=True)
    assert found.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(found[name], value, rtol=rounding, atol=rounding)
    for ours, theirs in zip(slopes(potential, found), slopes(potential, plain), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=100 * rounding, atol=10 * rounding)
    return plain


@pytest.mark.parametrize("sizes", [(6, 5, 4), (3, 7), (9, 2, 4, 3, 8)])
def test_ions_of_all_sizes_from_one_capture(compiled, sizes):
    plain = require_same(compiled, *sizes)
    assert {"charges", "spin_charges", "pass_charges", "dipole"} <= set(plain)
    assert float(plain["energy_coulomb"].detach().abs().min()) > 1e-6
    assert sum(map(len, compiled._codes.values())) == 1


@pytest.mark.parametrize("settings", SUMS.values(), ids=SUMS.keys())
def test_every_way_of_summing(settings):
    """With charges by element: Coulomb's term alone."""
    charges = FormalCharges({1: 0.4, 6: -0.3, 7: 0.7, 8: -0.6}, tuple(ENERGIES), require_total=False)
    potential = Potential(None, {"coulomb": Coulomb(**settings)}, {"charges": charges}, elements=tuple(ENERGIES))
    compiled = CompiledPrediction(potential.double().train(), "none")
    for sizes in ((6, 5, 4), (3, 7)):
        graph = ions(potential, *sizes)
        found, plain = compiled(graph, True), differentiate(potential.energy, graph, stress=True, create_graph=True)
        assert float(plain["forces"].detach().abs().max()) > 1e-3
        for name, value in plain.items():
            torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-12)
    assert sum(map(len, compiled._codes.values())) == 1


def test_what_a_graph_that_nobody_looked_at_gives_is_the_same():
    """Open structures are summed without looking for periodic ones; the general way gives the same to the bit."""
    potential = charged_potential(**SWITCHED)
    graph = ions(potential, 6, 5, 4)
    assert graph.open
    known, unknown = (differentiate(potential.energy, each) for each in (graph, replace(graph, open=False)))
    for name, value in unknown.items():
        torch.testing.assert_close(known[name], value, rtol=1e-14, atol=1e-14)


@pytest.mark.slow  # crystals through parts that run as they are: test_plain_parts.py has a quick one
def test_sums_of_periodic_structures_run_within_the_code_as_they_are(caplog):
    potential = charged_potential()
    compiled = CompiledPrediction(potential, "none")
    with caplog.at_level(logging.INFO, logger="eqff"):
        for sizes in ((4, 5), (3, 6, 2), ()):
            graph = ions(potential, *sizes, more=(crystal(1), crystal(2)))
            assert not graph.open
            found, plain = compiled(graph, True), differentiate(potential.energy, graph, stress=True, create_graph=True)
            for name, value in plain.items():
                torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-12)
            for ours, theirs in zip(slopes(potential, found), slopes(potential, plain), strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-11)
    assert sum(map(len, compiled._codes.values())) == 2  # where no structure is open, there are no pairs of such
    lines = [record.getMessage() for record in caplog.records if "within it" in record.getMessage()]
    assert len(lines) == 1 and "model.terms.coulomb runs as before" in lines[0]


def test_atoms_on_each_other_are_refused_by_compiled_steps_too(compiled):
    potential = compiled._potential
    compiled(ions(potential, 6, 5, 4), False)
    twice = ion(7, 6, 0)
    graph = on_each_other(ions(potential, 4, 5, more=(twice,)), 12, 10, apart=1e-5)
    with pytest.raises(ModelError, match=r"structure 2\) are 1e-05 Å apart"):
        compiled(graph, False)
    assert sum(map(len, compiled._codes.values())) == 1


def test_charged_crystals_are_refused_as_ever():
    potential = charged_potential(charged_cell="refuse")
    potential.compile_training_step("none")
    charged = crystal(7)
    charged.info.update(total_charge=1, multiplicity=1 + (int(charged.numbers.sum()) - 1) % 2)
    with pytest.raises(ModelError, match="net charge of 1 e"):
        potential(ions(potential, 4, more=(charged,)))


@pytest.mark.slow
def test_machine_code_of_ions():
    potential = charged_potential(**SWITCHED)
    compiled = CompiledPrediction(potential)
    for sizes in ((6, 5, 4), (3, 7)):
        require_same(compiled, *sizes, rounding=1e-10)  # sums in other orders
    assert sum(map(len, compiled._codes.values())) == 1
