"""`eqff.load` by path, name and repository; every wrong name, entry and file is an error that says so."""

import shutil
from pathlib import Path

import pytest
import torch

import eqff
from eqff.errors import ConfigError, DownloadError, ModelFileError, StorageError
from eqff.registry import catalogue
from eqff.registry.locate import is_here, is_name, lasting


def same(potential, path):
    from eqff.checkpoints import load_model

    expected = load_model(path).state_dict()
    return all(torch.equal(value, expected[name]) for name, value in potential.state_dict().items())


def test_by_name_from_a_file_beside_the_registry(registered, entry, model_file):
    shutil.copy(model_file, registered(water=entry).parent / "water.safetensors")
    assert same(eqff.load("water"), model_file)
    assert eqff.load("water", dtype="float64").dtype == torch.float64


def test_by_name_from_the_web_then_offline(registered, entry, model_file, content, server, monkeypatch):
    server.files["/w"] = content
    registered(water=entry | {"urls": [f"{server.url}/w"]})
    assert same(eqff.load("water"), model_file)
    monkeypatch.setenv("EQFF_OFFLINE", "1")
    assert same(eqff.load("water"), model_file)
    assert len(server.requests) == 1


def test_the_users_own_folder_is_looked_into(registered, entry, model_file, monkeypatch, tmp_path):
    written = registered(mine=entry)
    monkeypatch.delenv("EQFF_REGISTRY")
    assert "mine" not in catalogue()
    folder = tmp_path / "data" / "eqff" / "models"
    shutil.copytree(written.parent, folder)
    shutil.copy(model_file, folder / "water.safetensors")
    assert same(eqff.load("mine"), model_file)


def test_without_a_home(registered, entry, model_file, monkeypatch):
    """As in containers whose user has none: what is there is loaded, and the rest says what it lacks."""
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name)
    expanded = Path.expanduser

    def without_home(path):
        if path.parts[:1] == ("~",):
            raise RuntimeError("Could not determine home directory.")
        return expanded(path)

    monkeypatch.setattr(Path, "expanduser", without_home)
    folder = registered(water=entry, far=entry | {"urls": ["https://example.org/w"]}).parent
    shutil.copy(model_file, folder / "water.safetensors")
    assert same(eqff.load("water"), model_file)
    here = {name: is_here(found) for name, found in catalogue().items()}
    assert here["water"] and not here["far"]
    with pytest.raises(StorageError, match="home.*EQFF_CACHE"):
        eqff.load("far")


def test_unknown_names(registered, entry, tmp_path):
    registered(water=entry)
    with pytest.raises(ModelFileError, match="no model at 'watr', .* of that name. Did you mean 'water'"):
        eqff.load("watr")
    for path in ("./water", tmp_path / "water", "water.safetensors", Path("water")):
        with pytest.raises(ModelFileError, match="no model at"):
            eqff.load(path)


def test_a_folder_of_that_name_is_taken(registered, entry, model_file, tmp_path, monkeypatch):
    registered(water=entry)  # whose file is missing
    shutil.copy(model_file, tmp_path / "water")
    monkeypatch.chdir(tmp_path)
    assert same(eqff.load("water"), model_file)
    assert lasting("water") == str(tmp_path / "water") and lasting("other") == "other"


def test_another_hash_is_not_loaded(registered, entry, model_file):
    folder = registered(water=entry | {"sha256": "0" * 64}).parent
    with pytest.raises(DownloadError, match="should be at .*water.safetensors, but is not"):
        eqff.load("water")
    shutil.copy(model_file, folder / "water.safetensors")
    with pytest.raises(DownloadError, match=r"must have 0{64}: it is another file, and nothing was loaded"):
        eqff.load("water")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "abc"}, "must be 64 digits"),
        ({"urls": []}, "urls is empty"),
        ({"urls": ["ftp://a/b"]}, "neither https, http nor a path"),
        ({"urls": ["https://[::1"]}, "neither https, http nor a path"),
        ({"elements": ["Xx"]}, "no chemical symbols"),
        ({"states": [[0]]}, r"\[0\] is no \[total charge, multiplicity\]"),
        ({"size": 0}, "size"),
        ({"outside": "perhaps"}, "outside"),
        ({"licens": "MIT"}, "licens is not a setting"),
    ],
)
def test_wrong_entries_are_named(registered, entry, change, message):
    path = registered(water=entry | change)
    with pytest.raises(ConfigError, match=message) as caught:
        catalogue()
    assert str(path) in str(caught.value) and "water" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "can't be read"),
        ("[" * 100_000, "can't be read"),
        ("[]", "is no registry"),
        ('{"format": 9, "models": {}}', "Update eqff"),
        ('{"format": 1, "models": {"a": {}, "a": {}}}', "'a' stands there twice"),
    ],
)
def test_wrong_registries(registered, text, message):
    registered().write_text(text)
    with pytest.raises(ConfigError, match=message):
        catalogue()


@pytest.mark.parametrize("text", ["", " "])
def test_no_name_at_all(text):
    with pytest.raises(ModelFileError, match="name is empty"):
        eqff.load(text)


def test_a_registry_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("EQFF_REGISTRY", str(tmp_path / "none.json"))
    with pytest.raises(ConfigError, match="EQFF_REGISTRY names .*none.json"):
        catalogue()


@pytest.mark.parametrize(
    ("text", "name"), [("a-b.c", True), ("a/b", False), ("~a", False), ("../a", False), ("", False)]
)
def test_what_can_be_a_name(text, name):
    assert is_name(text) is name
