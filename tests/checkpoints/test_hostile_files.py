"""Model files from hell: each is refused with one clear message, runs nothing, and takes neither memory nor time."""

import copy
import json
import os
import pickle
import resource
import struct
import time
import zipfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_model_file import CONFIG, CONTEXT, FLAGSHIP, make_potential

import eqff
from eqff.build import build_potential
from eqff.checkpoints import MODEL_FILE, read_metadata, save_model
from eqff.checkpoints.container import digest_tensors, write_container
from eqff.data.charge_reference import ChargeReference
from eqff.errors import ConfigError, ModelFileError

SECONDS, MEGABYTES = 20.0, 200.0


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A good file's content, and what it loads to."""
    path = tmp_path_factory.mktemp("good") / MODEL_FILE
    save_model(path, make_potential(), model_config=CONFIG, context=CONTEXT, metadata={"states": []})
    return path.read_bytes(), eqff.load(path)


@pytest.fixture
def path(tmp_path, good):
    (tmp_path / MODEL_FILE).write_bytes(good[0])
    return tmp_path / MODEL_FILE


def refusal(path, **arguments):
    """The message with which a file is refused, after a look at what that cost."""
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelFileError) as caught:
        eqff.load(path, **arguments)
    assert time.process_time() - start < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEGABYTES
    message = str(caught.value)
    assert Path(path).name in message and "Traceback" not in message and len(message) < 1000
    return message


def raw(header, data=b"", length=None):
    """A safetensors file from its header as text."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def forged(path, change):
    """The file with its metadata changed by someone who also makes the digests right."""
    header = read_metadata(path).to_dict()
    return write_container(path, change(header) or header, load_file(path))


class Hostile:
    """Leaves a canary where it is unpickled."""

    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return (os.system, (f"touch {self.canary}",))


def test_pickles_in_any_dress_run_nothing(tmp_path):
    canary = tmp_path / "canary"
    pickled = pickle.dumps(Hostile(canary))
    torch.save(Hostile(canary), tmp_path / "zip.safetensors")
    torch.save(Hostile(canary), tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.safetensors").write_bytes(pickled)
    (tmp_path / "led.safetensors").write_bytes(struct.pack("<Q", len(pickled)) + pickled)
    (tmp_path / "inside.safetensors").write_bytes(raw(b"{" + pickled))
    with zipfile.ZipFile(tmp_path / "archive.safetensors", "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
    for file in tmp_path.iterdir():
        refusal(file)
    assert not canary.exists()


TARGETS = """os.system builtins.eval builtins.exec subprocess.Popen torch.load eqff.train.train eqff.build.torch
eqff.construct.importlib.import_module eqff.testing.minimal.MinimalBackbone ..os.system eqff..x"""


@pytest.mark.parametrize("target", [*TARGETS.split(), 7, ["os.system"]])
def test_foreign_targets_run_nothing(path, tmp_path, target):
    canary = tmp_path / "canary"

    def change(header):
        header["model_config"]["terms"]["local"] = {"_target_": target, "command": f"touch {canary}"}

    assert "can't be rebuilt here" in refusal(forged(path, change))
    assert not canary.exists()


@pytest.mark.parametrize("nested", [{"_target_": "os.system"}, [{"_target_": "os.system", "command": "x"}]])
@pytest.mark.parametrize("key", ["hidden", "energy_scale"])
def test_nested_targets_stay_values(path, monkeypatch, key, nested):
    monkeypatch.setattr(os, "system", lambda command: pytest.fail("a nested _target_ was built"))

    def change(header):
        header["model_config"]["terms"]["local"][key] = nested

    refusal(forged(path, change))


def test_cut_off_at_any_byte(path, good):
    rng = np.random.default_rng(0)
    for kept in {0, 1, 7, 8, 9, 10, *rng.integers(0, len(good[0]), 60).tolist(), len(good[0]) - 1}:
        path.write_bytes(good[0][:kept])
        assert "cut off" in (message := refusal(path)) or "damaged" in message


def test_flipped_bits_are_refused_or_harmless(path, good):
    """Anywhere, alone and together: never another exception, never another model."""
    content, expected = good
    rng = np.random.default_rng(1)
    loaded = 0
    for trial in range(250):
        damaged = bytearray(content)
        for position in rng.integers(0, len(content), 1 + trial % 3):
            damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        try:
            found = eqff.load(path)
        except ModelFileError:
            continue
        loaded += 1
        assert found.metadata == expected.metadata
        assert all(torch.equal(value, found.state_dict()[name]) for name, value in expected.state_dict().items())
    assert loaded < 25


def test_every_flip_in_the_weights_is_caught(path, good):
    content = good[0]
    start = 8 + int.from_bytes(content[:8], "little")
    for position in range(start, len(content), 41):
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(bytes(damaged))
        assert "weights are not those that were written" in refusal(path)


def test_a_changed_number_in_the_metadata_is_caught(path, good):
    path.write_bytes(good[0].replace(b"-2041.8396277138", b"-2041.8396277139"))
    assert "metadata are not those that were written" in refusal(path)
    with pytest.raises(ModelFileError, match="metadata are not those"):
        read_metadata(path)


def test_digests_can_not_be_left_out(path):
    header = read_metadata(path).to_dict()
    save_file(load_file(path), path, metadata={"eqff": json.dumps(header)})
    assert "not those that were written" in refusal(path)


TENSOR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (raw(b"{", length=2**60), "header alone needs"),
        (raw(b"{", length=2**64 - 1), "header alone needs"),
        (raw({"a": TENSOR | {"shape": [2**60]}}, b"1234"), "damaged"),
        (raw({"a": TENSOR | {"shape": [2**32, 2**32]}}, b"1234"), "damaged"),
        (raw({"a": TENSOR | {"data_offsets": [0, 2**60]}}, b"1234"), "damaged"),
        (raw({"a": TENSOR | {"data_offsets": [4, 0]}}, b"1234"), "damaged"),
        (raw({"a": TENSOR | {"shape": [-1]}}, b"1234"), "damaged"),
        (raw({"a": TENSOR | {"dtype": "object"}}, b"1234"), "damaged"),
        (raw({"__metadata__": {"eqff": 5}}), "damaged"),
        (raw({"__metadata__": {"eqff": {"format_version": 1}}}), "damaged"),
        (raw({"__metadata__": {"format": "pt"}}), "no eqff model"),
        (raw({}), "no eqff model"),
        (raw(b"{" * 10_000), "damaged"),
        (raw(b'{"a":' * 100_000), "damaged"),
        (raw(b"{\xff\xfe}"), "damaged"),
        (raw(b"not json"), "no safetensors file"),
        (b"", "cut off"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "no safetensors file"),
    ],
)
def test_broken_containers(path, content, message):
    path.write_bytes(content)
    assert message in refusal(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "no JSON"),
        ('{"a":' * 100_000, "no JSON"),
        ('{"format_version": 1, "format_version": 2}', "stands there twice"),
        ('{"format_version": 1, "x": {"y": NaN, "z": 1}}', "NaN is no number"),
        ('{"format_version": ' + "9" * 5000 + "}", "no JSON"),
        ('{"format_version": 1e400}', "no usable format version"),
        ('{"format_version": true}', "no usable format version"),
        ('{"format_version": -1}', "no usable format version"),
        ('{"format_version": ' + "9" * 400 + "}", "Update eqff"),
        ('{"format_version": 1}', "not a whole file of format version 1"),
        ('{"format_version": 1, "context": []}', "not a whole file"),
        ('{"format_version": 1, "context": {}}', "lacks the entry"),
        ('{"format_version": 99, "eqff_version": "7.0"}', "written by eqff 7.0"),
        ("null", "no JSON object"),
        ("", "no JSON"),
    ],
)
def test_broken_metadata(path, text, message):
    save_file(load_file(path), path, metadata={"eqff": text})
    assert message in refusal(path)


def in_context(**entries):
    return lambda header: header["context"].update(entries)


def in_model(place, **entries):
    def change(header):
        part = header["model_config"]
        for key in place.split("."):
            part = part[key]
        part.update(entries)

    return change


@pytest.mark.parametrize(
    "change",
    [
        in_model("backbone", channels=10**9),
        in_model("backbone", channels=10**300),
        in_model("backbone", channels=60_000),
        in_model("backbone", num_passes=10**9),
        in_model("backbone", num_passes=60_000),
        in_model("backbone", channels=-5),
        in_model("backbone", channels=None),
        in_model("backbone", channels="64"),
        in_model("backbone", cutoff=1e300),
        in_model("terms.local", hidden=2**40),
        in_model("terms.local", hidden=[1] * 100_000),
        in_model("terms.zbl", inner=1e308, outer=float(2**1000)),
        in_model("terms", other={"_target_": "eqff.terms.local.LocalEnergy", "channels": 50_000, "num_passes": 50_000}),
        lambda header: header["model_config"].update(terms={}),
        lambda header: header["model_config"].update(terms=[1]),
        lambda header: header["model_config"].update(backbone=3),
        lambda header: header.update(model_config={}),
        lambda header: header.update(model_config=None),
        in_context(elements=[10**9]),
        in_context(elements=[1, 8, 8.5, "x"]),
        in_context(elements=None),
        in_context(reference_energies={"1": 1e400, "8": 0}),
        in_context(reference_energies={"1": -13.6}, elements=[1, 8, 118]),
        in_context(mean_neighbours=0.0, energy_scale=1e400),
        in_context(charge_reference={"slope": 0.0, "offsets": {"x": 1}, "ions": {}}),
        in_context(charge_reference={"slope": 0.0, "offsets": {}, "ions": {"1": {"5": 1.0}}}),
        in_context(charge_reference={"slope": 0.0, "offsets": {}, "ions": {"1000000000": {"1": 1.0}}}),
        in_context(level_offsets={"PBE": {"500": 1.0}}),
        lambda header: header.update(training={"states": [1]}),
        lambda header: header.update(training={"states": [{"total_charge": 10**400, "multiplicity": 1}]}),
        lambda header: header.update(dtype="float16"),
    ],
)
def test_absurd_settings(path, change):
    """With digests that are right: a forger makes them so."""
    header, tensors = read_metadata(path).to_dict(), load_file(path)
    change(header)
    text = json.dumps(header).replace("Infinity", "1e999")  # a number of JSON, unlike infinity
    digests = {"eqff_sha256": sha256(text.encode()).hexdigest(), "eqff_tensors_sha256": digest_tensors(tensors)}
    save_file(tensors, path, metadata={"eqff": text, **digests})
    assert "not those that were written" not in refusal(path)


@pytest.mark.parametrize("key", ["degree", "hidden_degree", "channels", "num_passes"])
def test_absurd_settings_of_the_flagship(tmp_path, key):
    path = tmp_path / MODEL_FILE
    save_model(path, make_potential(config=FLAGSHIP), model_config=FLAGSHIP, context=CONTEXT)
    for value in (10**9, 40_000, 500):
        header = read_metadata(path).to_dict()
        changed = copy.deepcopy(header)
        changed["model_config"]["backbone"][key] = value
        write_container(path, changed, load_file(path))
        refusal(path)
        write_container(path, header, load_file(path))


def test_paths_that_are_no_files(tmp_path, path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    for name in ("pipe", "loop", "dangling", "empty"):
        assert "no" in refusal(tmp_path / name)
    assert "no regular file" in refusal("/dev/null")
    (tmp_path / "link").symlink_to(path)
    assert eqff.load(tmp_path / "link").metadata is not None


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_files_that_must_not_be_read(path):
    path.chmod(0)
    assert "can't be read" in refusal(path)


@pytest.mark.parametrize("dtype", ["float32", "float64", "torch.float64", torch.float64])
def test_dtype_by_name(path, dtype):
    assert eqff.load(path, dtype=dtype).dtype == getattr(torch, str(dtype).removeprefix("torch."))


@pytest.mark.parametrize("dtype", ["flot64", "float16", torch.int64, "load", 3])
def test_a_wrong_dtype_is_the_callers_fault(path, dtype):
    with pytest.raises(ConfigError, match="dtype can't be.*float32, float64"):
        eqff.load(path, dtype=dtype)


def test_charge_states_and_levels_survive(tmp_path):
    reference = ChargeReference(ions={8: {1: 13.6, 2: 48.7, -1: -1.46}, 1: {1: 13.6057}})
    context = replace(CONTEXT, charge_reference=reference, level_of_theory="A", level_offsets={"B": {1: 0.1, 8: 2.0}})
    potential = build_potential(CONFIG, context)
    path = save_model(tmp_path / MODEL_FILE, potential, model_config=CONFIG, context=context)
    loaded = eqff.load(path)
    assert loaded.metadata.model_context() == context
    assert loaded.terms["charge_reference"].tables.removal_energies.dtype == torch.float64
