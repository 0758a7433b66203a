"""Models of the Hugging Face Hub, from a server here that answers as it does."""

import hashlib
import json
import logging

import pytest

import eqff
from eqff.errors import ConfigError, DownloadError
from eqff.registry.hub import HubSource, parse

API = "/api/models/me/water/revision/main?blobs=true"


@pytest.fixture
def hub(server, content, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    large = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    siblings = [{"rfilename": "model.safetensors", "size": len(content), "lfs": large}, {"rfilename": "README.md"}]
    server.files[API] = json.dumps({"sha": "c0ffee", "siblings": siblings}).encode()
    server.files["/me/water/resolve/c0ffee/model.safetensors"] = content
    return server


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("hf://me/water", HubSource("me/water")),
        ("hf://me/water@v2", HubSource("me/water", revision="v2")),
        ("hf://me/water/a/b.safetensors", HubSource("me/water", "a/b.safetensors")),
        ("hf://me/w.a-t/b.safetensors@refs/pr/1", HubSource("me/w.a-t", "b.safetensors", "refs/pr/1")),
    ],
)
def test_sources(text, source):
    assert parse(text) == source


@pytest.mark.parametrize("text", ["hf://me", "hf://", "hf://me/water@", "hf://me/water/../x", "hf://me/wa ter"])
def test_what_is_no_source(text):
    with pytest.raises(ConfigError, match="owner/repo"):
        eqff.load(text)


def test_loads_and_remembers(hub, monkeypatch, caplog):
    assert eqff.load("hf://me/water").elements == (1, 6, 7, 8)
    monkeypatch.setenv("EQFF_OFFLINE", "1")
    assert eqff.load("hf://me/water").elements == (1, 6, 7, 8)
    assert len(hub.requests) == 2
    with pytest.raises(DownloadError, match="never loaded on this machine"):
        eqff.load("hf://me/water@v2")
    monkeypatch.delenv("EQFF_OFFLINE")
    hub.close()
    with caplog.at_level(logging.WARNING):
        eqff.load("hf://me/water")
    assert "is what it was last time" in caplog.text


def test_a_busy_hub_is_as_one_that_can_not_be_reached(hub, caplog):
    eqff.load("hf://me/water")
    hub.files[API] = 503
    with caplog.at_level(logging.WARNING):
        assert eqff.load("hf://me/water").elements == (1, 6, 7, 8)
    assert "503" in caplog.text and "is what it was last time" in caplog.text
    hub.files[API.replace("main", "v2")] = 429
    with pytest.raises(DownloadError, match="can't be reached .*429"):
        eqff.load("hf://me/water@v2")


def test_a_revision_that_moved_is_another_file(hub, content):
    eqff.load("hf://me/water")
    answer = json.loads(hub.files[API])
    answer["siblings"][0]["lfs"]["sha256"] = "0" * 64
    hub.files[API] = json.dumps(answer).encode()
    with pytest.raises(DownloadError, match="sha256 is"):
        eqff.load("hf://me/water")


def test_what_could_not_be_downloaded_is_not_remembered(hub, monkeypatch):
    eqff.load("hf://me/water")
    answer = json.loads(hub.files[API])
    answer["sha"], answer["siblings"][0]["lfs"]["sha256"] = "decaf", "0" * 64
    hub.files[API] = json.dumps(answer).encode()
    with pytest.raises(DownloadError, match="404"):
        eqff.load("hf://me/water")
    monkeypatch.setenv("EQFF_OFFLINE", "1")
    assert eqff.load("hf://me/water").elements == (1, 6, 7, 8)


def test_what_is_not_there(hub):
    with pytest.raises(DownloadError, match="404"):
        eqff.load("hf://me/wine")
    with pytest.raises(DownloadError, match=r"no file 'modl.safetensors'. Did you mean 'model.safetensors'"):
        eqff.load("hf://me/water/modl.safetensors")
    with pytest.raises(DownloadError, match="not stored with LFS"):
        eqff.load("hf://me/water/README.md")


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b'{"sha": "c0ffee"}'])
def test_answers_of_something_else(hub, answer):
    hub.files[API] = answer
    with pytest.raises(DownloadError, match="not of the Hub's interface"):
        eqff.load("hf://me/water")


def test_no_network(hub):
    hub.close()
    with pytest.raises(DownloadError, match="can't be reached"):
        eqff.load("hf://me/water")
