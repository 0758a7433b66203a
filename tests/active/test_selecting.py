"""Selections from structures: labels are never seen, copies never chosen, refusals clear."""

from copy import copy

import numpy as np
import pytest
import torch
from ase.io import read

from eqff.active import select
from eqff.active.candidates import identity, without
from eqff.active.labelling import write_frames
from eqff.active.selecting import write_selection
from eqff.data.atoms import from_atoms
from eqff.data.reading import read_frames
from eqff.errors import ConfigError, DataError
from eqff.evaluation.features import learned_features
from eqff.evaluation.predictions import predict
from eqff.testing.structures import among_charges, crystal, molecule, one_of_each
from eqff.uncertainty import Ensemble
from eqff.units import BOHR


@pytest.fixture(scope="module")
def ensemble(make_potential):
    return Ensemble([make_potential(seed) for seed in range(3)])


@pytest.fixture(scope="module")
def pool(shaken):
    return [*shaken(1, 12), *shaken(2, 8), *shaken(3, 4, size=0.15)]


@pytest.mark.parametrize("strategy", ["uncertain_diverse", "uncertain", "diverse", "random"])
def test_labels_are_not_looked_at(ensemble, pool, strategy):
    lying = [copy(frame) for frame in pool]
    for frame in lying:
        frame.energy, frame.forces = frame.energy + 100.0, torch.full_like(frame.forces, torch.nan)
    chosen = select(pool, 6, strategy=strategy, potential=ensemble)
    assert chosen.indices == select(lying, 6, strategy=strategy, potential=ensemble).indices


def test_uncertainties_are_the_models(ensemble, pool):
    chosen = select(pool, 5, strategy="uncertain", potential=ensemble)
    doubts = [p.uncertainties["forces_uncertainty"].max() for p in predict(ensemble, pool)]
    np.testing.assert_allclose(chosen.uncertainty, np.sort(doubts)[::-1][:5], rtol=1e-12)
    assert chosen.pool_uncertainty == pytest.approx((np.mean(doubts), np.max(doubts)))


def test_neither_what_is_known_nor_copies_are_chosen(ensemble, pool):
    known = pool[:10]
    chosen = select([*pool, *pool], 100, potential=ensemble, known=known)
    assert sorted(chosen.indices) == list(range(10, 24)) and chosen.left == 0


def test_the_same_atoms_in_other_surroundings_are_other_structures():
    field = from_atoms(molecule(1))
    field.electric_field = field.electric_field + 0.1
    frames = [from_atoms(molecule(1)), from_atoms(among_charges(molecule(1), 1)), field]
    frames += [from_atoms(among_charges(molecule(1), 2)), from_atoms(among_charges(molecule(1), 1))]
    assert without(frames, []) == [0, 1, 2, 3]


def test_the_same_atoms_in_other_fragments_are_other_structures(tmp_path):
    whole, apart, other, ionic = (molecule(1) for _ in range(4))
    last = np.arange(len(whole)) == len(whole) - 1
    for atoms, first in ((apart, last), (other, ~last), (ionic, last)):
        atoms.set_array("fragment", first.astype(int))
    ionic.set_array("fragment_charge", np.where(last, 1, -1))
    frames = [from_atoms(atoms) for atoms in (whole, apart, other, ionic, apart)]
    assert without(frames, []) == [0, 1, 2, 3]
    assert without(read_frames(write_frames(tmp_path / "again.extxyz", frames)), frames) == []


def test_identity_is_that_of_the_structure(pool, tmp_path):
    write_selection(tmp_path / "all.extxyz", select(pool, len(pool), strategy="random"), labels=True)
    again = read_frames(tmp_path / "all.extxyz")
    assert {identity(frame) for frame in again} == {identity(frame) for frame in pool}
    assert without(again, pool) == [] and len(without(pool, [])) == len(pool)
    ion = copy(pool[0])
    ion.total_charge = ion.total_charge + 2.0
    assert identity(ion) != identity(pool[0])


@pytest.mark.parametrize("decimals", [4, 5, 6, 8])
def test_identity_outlives_another_unit(pool, decimals):
    """Numbers as files have them are on no edge of what counts as the same."""
    frame, again, moved = copy(pool[0]), copy(pool[0]), copy(pool[0])
    steps = torch.arange(-60, 60, dtype=torch.float64).reshape(-1, 3)
    frame.positions = torch.round(10.0**decimals * 1.7 + steps) / 10.0**decimals
    again.positions = (frame.positions / BOHR) * BOHR * (1 + 2e-16)
    moved.positions = frame.positions + 2e-4
    assert identity(frame) == identity(again) != identity(moved)


def test_files_say_where_frames_come_from_and_have_no_labels(ensemble, pool, tmp_path):
    chosen = select(pool, 4, potential=ensemble)
    write_selection(tmp_path / "chosen.extxyz", chosen)
    images = read(tmp_path / "chosen.extxyz", index=":")
    assert [atoms.info["pool_index"] for atoms in images] == chosen.indices
    np.testing.assert_allclose([atoms.info["uncertainty"] for atoms in images], chosen.uncertainty, rtol=1e-6)
    assert all(atoms.calc is None for atoms in images)


def test_worst_clusters_come_from_where_errors_are(make_potential, shaken):
    pytest.importorskip("sklearn")
    good, bad = shaken(1, 20), shaken(2, 20)
    errors = [*shaken(1, 9), *shaken(2, 9)]
    model = make_potential(9)  # the one that made the labels
    for frame in errors[9:]:
        frame.forces = frame.forces + 1.0
    chosen = select([*good, *bad], 8, strategy="worst_clusters", potential=model, errors=errors, clusters=2)
    assert all(index >= 20 for index in chosen.indices)


def test_clusters_count_by_all_their_squared_errors(make_potential):
    """Of all force components: those of larger molecules are more."""
    pytest.importorskip("sklearn")
    model, rng, frames = make_potential(9), np.random.default_rng(0), []
    for atoms in (molecule(1, 4), molecule(2, 12)):
        for _ in range(10):
            moved = atoms.copy()
            moved.positions += 0.01 * rng.normal(size=moved.positions.shape)
            frames.append(from_atoms(moved))
    errors = [copy(frame) for frame in (*frames[:3], *frames[10:13])]
    for frame, prediction in zip(errors, predict(model, errors), strict=True):
        frame.forces = torch.tensor(prediction.labels["forces"]) + 1.0
    chosen = select(frames, 8, strategy="worst_clusters", potential=model, errors=errors, clusters=2)
    assert [sum(index < 10 for index in chosen.indices), sum(index >= 10 for index in chosen.indices)] == [2, 6]


def test_features_of_a_pool_are_computed_once(make_potential, shaken, monkeypatch):
    pytest.importorskip("sklearn")
    seen = []

    def counted(potential, frames, **settings):
        seen.extend(map(id, frames))
        return learned_features(potential, frames, **settings)

    for module in ("eqff.active.candidates", "eqff.evaluation.clusters"):
        monkeypatch.setattr(f"{module}.learned_features", counted)
    pool, errors = shaken(1, 10), shaken(2, 4)
    select(pool, 3, strategy="worst_clusters", potential=make_potential(0), errors=errors, clusters=2)
    assert sorted(seen) == sorted(map(id, [*pool, *errors]))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"strategy": "uncertian"}, ConfigError, "no strategy 'uncertian'. Did you mean 'uncertain'"),
        ({"strategy": "diverse"}, ConfigError, "diverse needs a model"),
        ({"strategy": "random", "known": "all"}, DataError, "All 24 structures of the pool are labelled already"),
        ({"strategy": "random", "pool": []}, DataError, "The pool has no structures"),
    ],
)
def test_refusals(pool, arguments, error, message):
    if arguments.get("known") == "all":
        arguments = arguments | {"known": pool}
    with pytest.raises(error, match=message):
        select(arguments.pop("pool", pool), 3, **arguments)


def test_features_know_neither_place_nor_order(make_potential):
    from eqff.data.atoms import from_atoms

    rng, moved = np.random.default_rng(0), []
    originals = [*one_of_each().values(), crystal(3)]
    for atoms in originals:
        other = atoms[rng.permutation(len(atoms))]
        other.info = dict(atoms.info)
        other.rotate(70, (1, 2, 3), rotate_cell=True)
        other.positions += (3.0, -1.0, 2.0)
        moved.append(other)
    potential = make_potential(0)
    first, second = (learned_features(potential, [from_atoms(a) for a in found]) for found in (originals, moved))
    np.testing.assert_allclose(first, second, atol=1e-10)
    assert np.linalg.norm(first[0] - first[1]) > 1e-3
