"""The models that ship with eqff: what the registry says of them is true."""

from pathlib import Path

import pytest

import eqff
from eqff.checkpoints import read_metadata
from eqff.data.reading import read_frames
from eqff.errors import ModelError
from eqff.evaluation.evaluation import evaluate_potential
from eqff.registry import catalogue
from eqff.registry.cache import sha256_of
from eqff.registry.catalogue import REGISTRY_FILE

NAMES = ("eqff-ions", "eqff-ions-short")


def test_all_files_of_the_registry_are_in_the_package_and_small():
    package = Path(eqff.__file__).parent / "registry" / REGISTRY_FILE
    entries = {name: entry for name, entry in catalogue().items() if entry.source == package}
    assert set(NAMES) <= set(entries)
    for entry in entries.values():
        (path,) = entry.local_files
        assert (path.stat().st_size, sha256_of(path)) == (entry.size, entry.sha256)
        assert entry.size < 2_000_000 and entry.licence == "MIT"


@pytest.mark.parametrize("name", NAMES)
def test_entry_and_file_agree(name, monkeypatch):
    monkeypatch.setenv("EQFF_OFFLINE", "1")
    entry, model = catalogue()[name], eqff.load(name)
    about = read_metadata(entry.local_files[0]).training
    assert entry.states == [[row["total_charge"], row["multiplicity"]] for row in about["states"]]
    assert [-2, 1] in entry.states and [1, 3] in entry.states
    assert model.elements == (1, 6, 7, 8, 9, 16, 17)
    assert "test/forces_mae" in entry.errors and entry.units["forces_mae"] == "meV/Å"


@pytest.mark.parametrize("name", NAMES)
def test_errors_are_those_of_the_registry(name):
    """Energies and forces of 479 structures: another version of eqff computes what this one was tested with."""
    frames = read_frames("shipped:ions/test_far_pairs.extxyz.gz")
    found = evaluate_potential(eqff.load(name), frames, name="far_pairs").metrics()
    for key in ("far_pairs/energy_mae", "far_pairs/energy_rmse", "far_pairs/forces_mae", "far_pairs/forces_rmse"):
        assert found[key] == pytest.approx(catalogue()[name].errors[key], rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_outside_is_refused_where_that_is_asked_for(name):
    water = read_frames("shipped:ions/test.extxyz.gz@:1")[0].clone()
    water.total_charge[...] = 4.0
    with pytest.raises(ModelError, match=r"not trained on: \+4 singlet"):
        evaluate_potential(eqff.load(name), [water], outside="refuse")
