"""A trained model taken over to elements that it never saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from ase import Atoms
from torch import nn

from eqff.build import ModelContext, build_potential
from eqff.potential import Potential
from eqff.testing.graphs import graph_of
from eqff.training.finetuning.elements import nearest_known, place_of
from eqff.training.finetuning.numbered import numbered_tables, with_nearest_numbers
from eqff.training.finetuning.weights import take_over

LOCAL = {"local": {"_target_": "eqff.terms.local.LocalEnergy"}}
EQUIVARIANT = {"_target_": "eqff.backbones.equivariant.EquivariantMessagePassing", "channels": 8, "radial_hidden": 8}
MODELS = {
    "equivariant": {"backbone": EQUIVARIANT, "terms": LOCAL},
    "strictly_local": {"backbone": EQUIVARIANT | {"strictly_local": True}, "terms": LOCAL},
    "nequip": {
        "backbone": {"_target_": "eqff.backbones.nequip.NequIP", "channels": 8, "higher_channels": [8, 4]},
        "terms": LOCAL,
    },
    "painn": {"backbone": {"_target_": "eqff.backbones.painn.PaiNN", "channels": 8}, "terms": LOCAL},
    "schnet": {"backbone": {"_target_": "eqff.backbones.schnet.SchNet", "channels": 8}, "terms": LOCAL},
    # a table with a row for each atomic number, as parts of one's own have
    "numbered": {"backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 8}, "terms": LOCAL},
    "charges": {
        "backbone": EQUIVARIANT,
        "exchanges": {"charges": {"_target_": "eqff.exchange.spin_equilibration.NeutralSpinEquilibration"}},
        "terms": LOCAL | {"coulomb": {"_target_": "eqff.terms.coulomb.Coulomb"}},
    },
}
KNOWN = ModelContext((1, 6, 8, 17), {1: -13.0, 6: -1030.0, 8: -2042.0, 17: -12520.0}, mean_neighbours=4.0)
NEW = {3: -203.0, 35: -70000.0}
"""Li, that begins as H, and Br, that begins as Cl; eV."""
STATE = {"total_charge": 1, "multiplicity": 2}


def trained(config: Mapping[str, Any]) -> Potential:
    """A model whose weights are none that a fresh one could have: rows of elements are a third of their size."""
    torch.manual_seed(1)
    potential = build_potential(config, KNOWN, torch.float64)
    with torch.no_grad():
        for parameter in potential.parameters():
            parameter.mul_(0.3 if parameter.shape[:1] == (4,) else 1.0).add_(0.05 * torch.randn_like(parameter))
    return potential.eval()


def extended(config: Mapping[str, Any], old: Potential) -> Potential:
    """The same one with Li and Br."""
    context = replace(KNOWN, elements=(1, 3, 6, 8, 17, 35), reference_energies={**KNOWN.reference_energies, **NEW})
    torch.manual_seed(2)
    new = build_potential(config, context, torch.float64)
    take_over(new, old, twin=build_potential(config, context, torch.float64))
    return new.eval()


def predict(potential: Potential, *structures: Atoms) -> dict[str, torch.Tensor]:
    return potential(graph_of(structures, potential.neighbour_lists, torch.float64, classical=True), forces=True)


def molecule(symbols: str) -> Atoms:
    positions = [[0.0, 0.0, 0.0], [1.1, 0.2, 0.0], [-0.4, 1.3, 0.3], [0.1, -0.9, 1.2]]
    return Atoms(symbols, positions, info=STATE)


@pytest.mark.parametrize("name", MODELS)
def test_predictions_for_old_elements_stay(name):
    old = trained(MODELS[name])
    new = extended(MODELS[name], old)
    for symbols in ("COHCl", "OCHH"):
        before, after = predict(old, molecule(symbols)), predict(new, molecule(symbols))
        for what in ("energy", "forces"):
            torch.testing.assert_close(after[what], before[what], rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_a_new_element_begins_as_the_nearest_one(name):
    """So that predictions have the size of what the model knows; random rows gave 2e4 eV/Å in a trained model."""
    old = trained(MODELS[name])
    new = extended(MODELS[name], old)
    energies = {**KNOWN.reference_energies, **NEW}
    for there, like in (("COHLi", "COHH"), ("CBrHO", "CClHO"), ("BrLiOC", "ClHOC")):
        shift = sum(
            energies[a] - energies[b] for a, b in zip(molecule(there).numbers, molecule(like).numbers, strict=True)
        )
        found, expected = predict(new, molecule(there)), predict(old, molecule(like))
        torch.testing.assert_close(found["energy"] - shift, expected["energy"], rtol=1e-12, atol=1e-9)
        torch.testing.assert_close(found["forces"], expected["forces"], rtol=1e-12, atol=1e-10)


def test_values_of_elements_are_their_own_and_change_as_those_of_the_nearest():
    """Gaussian widths begin at covalent radii: lithium's is not hydrogen's, but training moves it in the same way."""
    config = {
        "backbone": EQUIVARIANT,
        "heads": {"qeq": {"_target_": "eqff.heads.charge_equilibration.ChargeEquilibration"}},
        "terms": LOCAL,
    }
    torch.manual_seed(0)
    start = build_potential(config, replace(KNOWN, elements=(1, 3, 6, 8, 17, 35)), torch.float64)
    old = trained(config)
    torch.manual_seed(3)
    fresh = build_potential(config, KNOWN, torch.float64)
    new = extended(config, old)
    for row, near in ((1, 0), (5, 3)):
        moved = old.heads["qeq"].raw_width[near] - fresh.heads["qeq"].raw_width[near]
        torch.testing.assert_close(new.heads["qeq"].raw_width[row], start.heads["qeq"].raw_width[row] + moved)
        torch.testing.assert_close(new.heads["qeq"].raw_hardness[row], old.heads["qeq"].raw_hardness[near])


def context_with(number: int) -> ModelContext:
    energies = {**KNOWN.reference_energies, number: 0.0}
    return replace(KNOWN, elements=tuple(sorted(energies)), reference_energies=energies)


@pytest.mark.parametrize("number", [3, 35], ids=["rows_that_are_there", "rows_beyond"])
def test_rows_for_atomic_numbers_are_told_from_other_tables(number):
    """One of charges is as long, and one of multiplicities shrinks and grows with it: both stay what they are."""
    config = MODELS["numbered"]
    old, new = trained(config), build_potential(config, context_with(number), torch.float64)
    for potential in (old, new):
        potential.backbone.charges = nn.Embedding(18, 2).double()
        potential.backbone.states = nn.Parameter(torch.rand(max(potential.elements) + 1, 2, dtype=torch.float64))
    fresh = new.backbone.states.detach().clone()
    assert numbered_tables(new, old) == ("backbone.species.weight",)
    transfer = take_over(new, old)
    assert dict(transfer.tables) == {"backbone.species.weight": (0,)}
    assert torch.equal(new.backbone.charges.weight, old.backbone.charges.weight)
    taken = new.backbone.states.shape == old.backbone.states.shape
    assert torch.equal(new.backbone.states, old.backbone.states if taken else fresh)
    assert ("backbone.states" in transfer.fresh) is not taken


def test_rows_for_atomic_numbers_with_values_of_their_own_keep_them():
    fresh, table = torch.arange(6.0)[:, None], 10 * torch.arange(4.0)[:, None]
    assert with_nearest_numbers(fresh, table, {1: 1, 5: 3}, start=True).flatten().tolist() == [0, 10, 20, 30, 4, 32]
    assert with_nearest_numbers(fresh, table, {1: 1, 5: 3}, start=False).flatten().tolist() == [0, 10, 20, 30, 4, 30]


def test_restarted_tables_are_not_filled():
    old = trained(MODELS["painn"])
    new = build_potential(MODELS["painn"], context_with(3), torch.float64)
    fresh = new.backbone.embedding.detach().clone()
    transfer = take_over(new, old, ["backbone.embedding"])
    assert torch.equal(new.backbone.embedding, fresh)
    assert "backbone.embedding" in transfer.fresh
    assert not transfer.tables


def test_what_new_elements_begin_as_is_said():
    old = trained(MODELS["equivariant"])
    transfer = take_over(build_potential(MODELS["equivariant"], context_with(3), torch.float64), old)
    assert "new elements begin as the nearest known ones in 5 tables: Li as H" in str(transfer)
    assert "nearest" not in str(take_over(trained(MODELS["equivariant"]), old))


def test_places_in_the_periodic_table():
    groups = {1: "H Li Na K Rb Cs Fr", 2: "Be Mg Ca Sr Ba Ra", 3: "La Ce Lu Sc Y", 8: "Fe Ru Os", 12: "Zn Cd Hg"}
    groups |= {13: "B Al Ga In Tl", 14: "C Si Ge Sn Pb", 17: "F Cl Br I At", 18: "He Ne Ar Kr Xe Rn Og"}
    for group, symbols in groups.items():
        assert {place_of(z).group for z in Atoms(symbols.replace(" ", "")).numbers} == {group}
    assert [place_of(z).period for z in (1, 2, 3, 10, 11, 19, 37, 55, 86, 87, 118)] == [1, 1, 2, 2, 3, 4, 5, 6, 6, 7, 7]
    assert [place_of(z).block for z in (4, 13, 26, 30, 57, 70, 71, 92)] == [
        "main",
        "main",
        "d",
        "d",
        "f",
        "f",
        "d",
        "f",
    ]


@pytest.mark.parametrize(
    ("new", "known", "nearest"),
    [
        ("Li", "HCNOFSCl", "H"),
        ("Br", "HCNOFSCl", "Cl"),
        ("P", "HCNOS", "N"),  # of two that are one step away, the one with the same valence
        ("Si", "HCNO", "C"),
        ("Mg", "HOAl", "Al"),  # boron's group is next to beryllium's
        ("Fe", "HCOZn", "Zn"),  # metals of the d block before all others
        ("Nd", "OTiEu", "Eu"),
        ("I", "I", "I"),
    ],
)
def test_nearest_elements(new, known, nearest):
    numbers = [int(z) for z in Atoms(known).numbers]
    (z,) = Atoms(new).numbers
    assert nearest_known([int(z)], numbers) == {int(z): int(Atoms(nearest).numbers[0])}
