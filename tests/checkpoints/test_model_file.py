"""Model files: what goes in comes out to the bit, and what is damaged or hostile is refused, nothing of it run."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from e3nn.o3 import _wigner
from safetensors.torch import load_file, save_file

import eqff
from eqff.build import ModelContext, build_potential
from eqff.checkpoints import MODEL_FILE, container, find_model_file, read_metadata, save_model, upgrades
from eqff.checkpoints.container import write_container
from eqff.data.graph import graph_from_tensors
from eqff.errors import ModelError, ModelFileError
from eqff.nn import spherical

FIXTURES = Path(__file__).parent / "fixtures"
CONFIG = {
    "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 2},
    "terms": {
        "local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4},
        "zbl": {"_target_": "eqff.terms.zbl.ZBLRepulsion", "inner": 0.5, "outer": 1.0},
    },
}
FLAGSHIP = CONFIG | {
    "backbone": {
        "_target_": "eqff.backbones.equivariant.EquivariantMessagePassing",
        "channels": 8,
        "degree": 2,
        "hidden_degree": 1,
    },
    "heads": {
        "charges": {"_target_": "eqff.heads.charges.Charges"},
        "dipole": {"_target_": "eqff.heads.dipole.Dipole"},
    },
}
# digits that float32 does not hold
CONTEXT = ModelContext((1, 8), {1: -13.605693122994, 8: -2041.8396277138}, energy_scale=0.7, mean_neighbours=1.7)


def make_potential(dtype=torch.float32, config=CONFIG):
    torch.manual_seed(0)
    return build_potential(config, CONTEXT, dtype)


def water(dtype):
    positions = torch.tensor([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], dtype=torch.float64)
    pairs = [(j, i) for i in range(3) for j in range(3) if i != j]
    return graph_from_tensors(
        {
            "numbers": torch.tensor([8, 1, 1]),
            "positions": positions,
            "cell": torch.zeros(1, 3, 3),
            "pbc": torch.zeros(1, 3, dtype=torch.bool),
            "total_charge": torch.ones(1),
            "multiplicity": torch.full((1,), 2.0),
            "batch": torch.zeros(3, dtype=torch.long),
            "edge_index": torch.tensor(pairs).T,
            "edge_shift": torch.zeros(len(pairs), 3),
        },
        dtype,
    )


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "run" / MODEL_FILE
    return save_model(path, make_potential(), model_config=CONFIG, context=CONTEXT, metadata={"data_hash": "abc"})


def rewrite(path, change=lambda header: header, tensors=None):
    """The same file with its metadata (and tensors) changed."""
    header = read_metadata(path).to_dict()
    tensors = load_file(path) if tensors is None else tensors
    return write_container(path, change(header), tensors)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("config", [CONFIG, FLAGSHIP], ids=["minimal", "flagship"])
def test_round_trip_is_bit_exact(tmp_path, dtype, config):
    potential = make_potential(dtype, config).eval()
    path = save_model(tmp_path / "m.safetensors", potential, model_config=config, context=CONTEXT)
    loaded = eqff.load(path)
    before, after = potential.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert value.dtype == after[name].dtype and torch.equal(value, after[name]), name
    first, second = potential(water(dtype)), loaded(water(dtype))
    assert set(first) == set(second)
    for name in first:
        assert torch.equal(first[name], second[name]), name
    assert not loaded.training and loaded.neighbour_lists == potential.neighbour_lists


def test_high_degrees_load_in_a_fresh_process(tmp_path):
    """Where the couplings of degrees have not been made yet, which takes thousands of operations."""
    config = FLAGSHIP | {"backbone": FLAGSHIP["backbone"] | {"degree": 4, "hidden_degree": 4}}
    path = save_model(tmp_path / MODEL_FILE, make_potential(config=config), model_config=config, context=CONTEXT)
    for made in (_wigner._so3_clebsch_gordan, _wigner._su2_clebsch_gordan, spherical._raising):
        made.cache_clear()
    assert eqff.load(path).backbone.passes[-1].product.degrees == (4, 4, 4)


def test_reference_energies_stay_float64(saved):
    assert eqff.load(saved).terms["local"].reference.values[8].item() == CONTEXT.reference_energies[8]


def test_another_precision_has_its_own_constants(saved):
    single, double = eqff.load(saved), eqff.load(saved, dtype=torch.float64)
    assert double.dtype == torch.float64
    # built in float64 rather than cast: constants are those of a float64 model, weights those of the file
    exact = torch.arange(1, 7, dtype=torch.float64) * (torch.pi / 4.0)
    assert torch.equal(double.backbone.frequencies, exact)
    assert torch.equal(double.backbone.species.weight, single.backbone.species.weight.double())
    difference = double(water(torch.float64))["energy"] - single(water(torch.float32))["energy"]
    assert difference.abs().item() < 1e-4


def test_run_folder_and_metadata(saved):
    loaded = eqff.load(saved.parent)
    metadata = read_metadata(saved)
    assert loaded.metadata == metadata
    assert metadata.training == {"data_hash": "abc"}
    assert metadata.model_context() == CONTEXT
    assert metadata.neighbour_lists == {"local": 4.0}
    assert metadata.fields["forces"]["unit"] == "eV/Å"


def test_metadata_takes_numbers_as_training_has_them(tmp_path):
    from omegaconf import OmegaConf

    metrics = {"mae": torch.tensor(0.5), "worst": float("nan"), "path": tmp_path, "steps": OmegaConf.create([1, 2])}
    path = save_model(
        tmp_path / "m.safetensors",
        make_potential(),
        model_config=OmegaConf.create(CONFIG),
        context=CONTEXT,
        metadata=metrics,
    )
    stored = read_metadata(path)
    assert stored.training == {"mae": 0.5, "worst": None, "path": str(tmp_path), "steps": [1, 2]}
    assert stored.model_config == CONFIG


def test_a_failed_save_leaves_the_old_file(saved, monkeypatch):
    before = saved.read_bytes()

    def interrupted(tensors, path, metadata):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(container, "save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_model(saved, make_potential(), model_config=CONFIG, context=CONTEXT)
    assert saved.read_bytes() == before
    assert [found.name for found in saved.parent.iterdir()] == [MODEL_FILE]


def test_diverged_model_is_not_saved(tmp_path):
    potential = make_potential()
    potential.terms["local"].linear.weight.data[0, 0] = float("nan")
    with pytest.raises(ModelError, match=r"terms.local.linear.weight.*diverged"):
        save_model(tmp_path / "m.safetensors", potential, model_config=CONFIG, context=CONTEXT)


@pytest.mark.parametrize("kept", [0, 5, 8, 9, 200, -1])
def test_truncated_file(saved, kept):
    content = saved.read_bytes()
    saved.write_bytes(content[:kept])
    with pytest.raises(ModelError, match="cut off|damaged"):
        eqff.load(saved)


def test_every_flipped_header_byte_is_an_error_or_harmless(saved):
    content = saved.read_bytes()
    for position in range(0, 2000, 37):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        saved.write_bytes(bytes(damaged))
        try:
            eqff.load(saved)
        except ModelError:
            continue
        assert position > 8  # a flip inside of free text may go unseen, one in the length never


def test_huge_header_is_not_read(saved):
    with saved.open("wb") as file:
        file.write((10**9).to_bytes(8, "little") + b"{")
        file.truncate(10**9 + 100)  # a hole: takes no room on the disk
    with pytest.raises(ModelError, match="claims a header of 1000000000 bytes"):
        eqff.load(saved)


def test_pickled_file_is_refused_unread(tmp_path):
    ran = tmp_path / "ran"

    class Hostile:
        def __reduce__(self):
            return (ran.write_text, ("ran",))

    path = tmp_path / "model.pt"
    torch.save({"model": Hostile()}, path)
    with pytest.raises(ModelError, match="never unpickles"):
        eqff.load(path)
    assert not ran.exists()


@pytest.mark.parametrize("target", ["os.system", "subprocess.Popen", "eqff.train.main", "builtins.eval", "eqff", ""])
def test_foreign_class_is_refused(saved, target):
    def change(header):
        header["model_config"]["terms"]["local"] = {"_target_": target, "command": "echo"}
        return header

    with pytest.raises(ModelError, match="can't be rebuilt here"):
        eqff.load(rewrite(saved, change))


def test_own_package_must_be_allowed_by_the_user(saved, tmp_path, monkeypatch):
    (tmp_path / "my_parts_of_test.py").write_text(
        "from eqff.terms.local import LocalEnergy\nclass Mine(LocalEnergy):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("eqff.packages._ALLOWED_PACKAGES", ["eqff"])

    def change(header):
        header["model_config"]["terms"]["local"]["_target_"] = "my_parts_of_test.Mine"
        return header

    rewrite(saved, change)
    with pytest.raises(ModelError, match=r"eqff.allow\('my_parts_of_test'\)"):
        eqff.load(saved)
    assert "my_parts_of_test" not in sys.modules
    assert type(eqff.load(saved, packages=("my_parts_of_test",)).terms["local"]).__name__ == "Mine"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h | {"format_version": 99}, "Update eqff"),
        (lambda h: h | {"format_version": "1"}, "no usable format version"),
        (lambda h: {k: v for k, v in h.items() if k != "context"}, "lacks the entry 'context'"),
        (lambda h: h | {"dtype": "bfloat16"}, "float32, float64"),
        (lambda h: h | {"context": h["context"] | {"elements": [1, 10**12]}}, "no atomic numbers"),
        (lambda h: h | {"context": h["context"] | {"elements": []}}, "no atomic numbers"),
        (lambda h: h | {"context": h["context"] | {"energy_scale": None}}, "can't be read"),
        (lambda h: h | {"model_config": {"backbone": {}}}, "can't be rebuilt here"),
        (lambda h: h | {"model_config": h["model_config"] | {"extra": {}}}, "can't be rebuilt here"),
        (lambda h: [h], "no JSON object"),
    ],
)
def test_wrong_metadata(saved, change, message):
    with pytest.raises(ModelError, match=message):
        eqff.load(rewrite(saved, change))


def test_deeply_nested_metadata(saved):
    save_file(load_file(saved), saved, metadata={"eqff": "[" * 100_000})
    with pytest.raises(ModelError, match="no JSON"):
        eqff.load(saved)


def test_wrong_tensors(saved):
    tensors = load_file(saved)
    name = "terms.local.linear.weight"
    for changed, message in (
        (tensors | {name: torch.zeros(1, 9)}, r"\[1, 9\], not \[1, 8\]"),
        (tensors | {name: tensors[name].long()}, "int64"),
        (tensors | {name: torch.full_like(tensors[name], torch.inf)}, "NaN or infinity"),
        (tensors | {"stranger": torch.zeros(1)}, "1 tensors unknown .stranger"),
        ({key: value for key, value in tensors.items() if key != name}, "1 tensors missing"),
    ):
        with pytest.raises(ModelError, match=message):
            eqff.load(rewrite(saved, tensors=changed))


def test_foreign_safetensors(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="no eqff model"):
        eqff.load(path)


def test_missing_paths(tmp_path):
    with pytest.raises(ModelError, match="no model at"):
        eqff.load(tmp_path / "nowhere")
    (tmp_path / "last.safetensors").touch()
    with pytest.raises(ModelError, match="last.safetensors"):
        eqff.load(tmp_path)


def test_old_versions_go_through_each_upgrade(saved, monkeypatch):
    def first(header, tensors):
        header["model_config"]["terms"]["local"]["hidden"] = header["model_config"]["terms"]["local"].pop("width")
        return header, tensors

    def second(header, tensors):
        return header, {name.replace("old_", ""): value for name, value in tensors.items()}

    expected = eqff.load(saved)
    monkeypatch.setattr(upgrades, "FORMAT_VERSION", 3)
    monkeypatch.setattr(upgrades, "UPGRADES", {1: first, 2: second})

    def age(header):
        local = header["model_config"]["terms"]["local"]
        local["width"] = local.pop("hidden")
        return header

    header = age(expected.metadata.to_dict())
    header["format_version"] = 1
    write_container(saved, header, {f"old_{name}": value for name, value in load_file(saved).items()})
    loaded = eqff.load(saved)
    assert loaded.metadata.format_version == 3
    assert torch.equal(loaded.terms["local"].linear.weight, expected.terms["local"].linear.weight)


def test_parts_that_were_left_out_stay_so_in_old_files(saved):
    def second(header):
        return header | {"format_version": 2, "model_config": header["model_config"] | {"heads": {"charges": None}}}

    assert not eqff.load(rewrite(saved, second)).heads


def test_every_past_version_has_an_upgrade():
    assert set(upgrades.UPGRADES) == set(range(1, upgrades.FORMAT_VERSION))


def test_files_of_every_version_still_predict_the_same():
    """Fixtures are never written anew: a file that a user has must keep loading."""
    versions = sorted(FIXTURES.glob("version*.safetensors"))
    assert [path.stem for path in versions] == [f"version{number}" for number in range(1, upgrades.FORMAT_VERSION + 1)]
    for path in versions:
        expected = json.loads(path.with_suffix(".json").read_text())
        prediction = eqff.load(path)(water(torch.float64))
        for name, values in expected.items():
            np.testing.assert_allclose(prediction[name].numpy(), values, atol=1e-8, err_msg=f"{path.stem} {name}")


def test_importing_eqff_waits_for_nothing():
    code = "import sys, eqff; assert 'torch' not in sys.modules; eqff.load; assert 'torch' in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="lod"):
        _ = eqff.lod


def test_what_a_folder_holds_instead_is_named_but_not_searched_for_far_below(tmp_path):
    for name in ("b.safetensors", "runs/one/model.safetensors", "far/below/and/deeper/model.safetensors"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ModelFileError, match="It holds b.safetensors, runs/one/model.safetensors: name one"):
        find_model_file(tmp_path)
    with pytest.raises(ModelFileError, match="Did the run finish"):
        find_model_file(tmp_path / "far")
