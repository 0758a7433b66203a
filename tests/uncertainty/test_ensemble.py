"""Ensembles: means and spreads are what numpy says, forces derive from the mean energy, strangers are refused."""

import numpy as np
import pytest
import torch
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

import eqff
from eqff.data.atoms import from_atoms
from eqff.errors import ModelError
from eqff.evaluation import evaluate_potential
from eqff.evaluation.predictions import predict
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, molecule, one_of_each, transformed
from eqff.uncertainty import Ensemble

STRUCTURES = list(one_of_each().values())


@pytest.fixture(scope="module")
def members(make_potential):
    return [make_potential(seed) for seed in range(3)]


def result(potential, structures=STRUCTURES, **options):
    graph = graph_of(structures, potential.neighbour_lists, torch.float64)
    return potential(graph, create_graph=False, **options)


def test_one_model_alone_is_itself_without_spread(members):
    alone, model = result(Ensemble(members[:1]), stress=True), result(members[0], stress=True)
    for name in members[0].predicts:
        torch.testing.assert_close(alone[name], model[name], rtol=0, atol=0)
    assert not alone["energy_uncertainty"].any() and not alone["forces_uncertainty"].any()


def test_means_and_spreads(members):
    whole, each = result(Ensemble(members), stress=True), [result(member, stress=True) for member in members]
    for name in ("energy", "forces", "stress", "virial", "charges", "energy_local", "energy_zbl"):
        expected = np.mean([one[name].numpy() for one in each], axis=0)
        np.testing.assert_allclose(whole[name].numpy(), expected, rtol=1e-13, atol=1e-12)
    energies = np.std([one["energy"].numpy() for one in each], axis=0, ddof=1)
    np.testing.assert_allclose(whole["energy_uncertainty"].numpy(), energies, rtol=1e-8)
    variance = np.var([one["forces"].numpy() for one in each], axis=0, ddof=1).mean(axis=1)
    np.testing.assert_allclose(whole["forces_uncertainty"].numpy() ** 2, variance, rtol=1e-8, atol=1e-20)


def test_terms_add_up_to_the_mean_energy(members):
    whole = result(Ensemble(members))
    total = sum(whole[f"energy_{name}"] for name in Ensemble(members).terms)
    torch.testing.assert_close(total, whole["energy"], rtol=1e-13, atol=0)


def test_order_of_members_changes_nothing(members):
    there, back = result(Ensemble(members)), result(Ensemble(members[::-1]))
    for name in there:
        torch.testing.assert_close(there[name], back[name], rtol=1e-10, atol=1e-10)


def test_scales_multiply_the_spread_alone(members):
    plain, scaled = result(Ensemble(members)), result(Ensemble(members, scales=(2.0, 3.0)))
    torch.testing.assert_close(scaled["energy"], plain["energy"], rtol=0, atol=0)
    torch.testing.assert_close(scaled["energy_uncertainty"], 2 * plain["energy_uncertainty"])
    torch.testing.assert_close(scaled["forces_uncertainty"], 3 * plain["forces_uncertainty"])


def test_uncertainty_does_not_turn_with_the_frame(members):
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    here, there = (result(Ensemble(members), [atoms]) for atoms in (crystal(1), transformed(crystal(1), turn)))
    for name in Ensemble.uncertainties:
        torch.testing.assert_close(here[name], there[name], rtol=1e-8, atol=1e-10)


def test_calculator_has_derivatives_of_the_mean_and_uncertainties(members):
    atoms = crystal(2)
    atoms.calc = Ensemble(members).calculator()
    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, eps=1e-5), atol=2e-7, rtol=1e-6)
    np.testing.assert_allclose(atoms.get_stress(), calculate_numerical_stress(atoms, eps=1e-6), atol=1e-6)
    assert atoms.calc.get_property("energy_uncertainty") > 0
    assert atoms.calc.get_property("forces_uncertainty").shape == (len(atoms),)


def test_energies_alone_have_their_uncertainty(members):
    whole = result(Ensemble(members), forces=False)
    assert "forces_uncertainty" not in whole and (whole["energy_uncertainty"] > 0).all()


def test_loaded_from_files_and_evaluated(save, make_potential):
    model = eqff.load([save(0), save(1)])
    frames = [from_atoms(molecule(seed, 5)) for seed in range(3)]
    found = predict(model, frames, batch_size=2)
    energies = [[p.labels["energy"] for p in predict(make_potential(seed), frames)] for seed in (0, 1)]
    np.testing.assert_allclose([p.labels["energy"] for p in found], np.mean(energies, axis=0), rtol=1e-13)
    expected = np.std(energies, axis=0, ddof=1).ravel()
    np.testing.assert_allclose([p.uncertainties["energy_uncertainty"] for p in found], expected, rtol=1e-7)
    assert [p.uncertainties["forces_uncertainty"].shape for p in found] == [(5,)] * 3
    assert evaluate_potential(model, frames).predictions[0].uncertainties


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"elements": (1, 6, 8)}, "made for H, C, O, the other for H, C, N, O"),
        ({"level_of_theory": "PBE"}, "level of theory 'PBE', the other's at 'wB97M-V'"),
        ({"reference_energies": {1: -13.6, 6: -1030.0, 7: -1486.0, 8: 0.0}}, "reference energy of O is [+]2042 eV"),
    ],
)
def test_strangers_are_refused_by_name(save, changes, message):
    first, other = save(0), save(1, **changes)
    with pytest.raises(ModelError, match=message) as caught:
        eqff.load([first, other])
    assert str(other) in str(caught.value) and str(first) in str(caught.value)


def test_no_model_is_there_twice(save, tmp_path):
    first, other = save(0), save(1)
    copied = tmp_path / "copy.safetensors"
    copied.write_bytes(first.read_bytes())
    with pytest.raises(ModelError, match=f"'{copied}' can't be in an ensemble with '{first}': they are one model"):
        eqff.load([first, other, copied])


def test_members_may_be_compiled_ahead_of_time(save, make_potential, monkeypatch, tmp_path):
    def loaded(path, *, trust_code=False):
        assert trust_code
        return make_potential(int(path.stem))

    monkeypatch.setattr("eqff.export.loading.load_exported", loaded)
    for name in ("1.pt2", "2.pt2"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "1.safetensors").write_bytes(save(1).read_bytes())
    (tmp_path / "uncertainty.safetensors").write_bytes(b"no model")
    mixed = eqff.load([save(0), tmp_path / "1.pt2"], trust_code=True)
    assert len(mixed.members) == 2
    assert eqff.load(f"{tmp_path}/*.pt2", trust_code=True).names == tuple(f"{tmp_path}/{k}.pt2" for k in (1, 2))
    assert eqff.load(f"{tmp_path}/*").names == (f"{tmp_path}/1.safetensors",)


def test_other_refusals(members, make_potential):
    with pytest.raises(ModelError, match="at least one model"):
        Ensemble([])
    with pytest.raises(ModelError, match="float32"):
        Ensemble([members[0], make_potential(1, torch.float32)])


def test_states_are_those_that_every_member_saw(save):
    rows = [{"total_charge": charge, "multiplicity": 1, "count": 3} for charge in (0, 1)]
    paths = [
        save(0, {"states": rows, "shortest_distance": 0.9}),
        save(1, {"states": rows[:1], "shortest_distance": 1.0}),
    ]
    training = eqff.load(paths).metadata.training
    assert training["states"] == rows[:1] and training["shortest_distance"] == 1.0


def test_what_only_some_members_give_is_left_out(make_potential, monkeypatch):
    """A model that was compiled ahead of time gives a virial whether it is asked for or not."""
    members = [make_potential(seed) for seed in range(2)]
    forward = members[0].forward
    monkeypatch.setattr(members[0], "forward", lambda graph, **options: forward(graph, **options | {"stress": True}))
    found = result(Ensemble(members))
    assert "virial" not in found and "forces" in found
