"""python -m eqff.uncertainty, and ensembles and estimates on the command lines of the others."""

import json
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from ase.io import read, write
from omegaconf import OmegaConf

import eqff
from eqff.config import config_directory
from eqff.data.atoms import from_atoms, to_atoms
from eqff.errors import ConfigError, DataError, ModelError, ModelFileError
from eqff.evaluate import evaluate
from eqff.evaluation.calibration import calibrations
from eqff.evaluation.predictions import predict
from eqff.simulate import simulate
from eqff.testing.structures import molecule
from eqff.uncertainty import Ensemble, LastLayerEstimate
from eqff.uncertainty.command import _folder_of_estimate, fit_uncertainty
from eqff.uncertainty.ensemble_file import save_ensemble


def compose(name, *overrides):
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_directory() / "commands")):
        return hydra.compose(name, overrides=list(overrides))


@pytest.fixture(scope="module")
def files(make_potential, tmp_path_factory):
    """Training and held-back structures, labelled by a model of their own."""
    folder, rng, atoms = tmp_path_factory.mktemp("data"), np.random.default_rng(0), molecule(1, 5)
    for name, count in (("train", 30), ("valid", 12)):
        frames = []
        for _ in range(count):
            moved = atoms.copy()
            moved.positions += 0.05 * rng.normal(size=(5, 3))
            frames.append(from_atoms(moved))
        for frame, prediction in zip(frames, predict(make_potential(7), frames), strict=True):
            frame.energy = torch.tensor(prediction.labels["energy"]).reshape(1)
            frame.forces = torch.tensor(prediction.labels["forces"])
        write(folder / f"{name}.extxyz", [to_atoms(frame) for frame in frames])
    return folder


@pytest.fixture
def runs(save, tmp_path):
    """Three run folders."""
    for seed in range(3):
        (tmp_path / f"seed{seed}").mkdir()
        save(seed).rename(tmp_path / f"seed{seed}" / "model.safetensors")
    return tmp_path


def scales(model, files):
    frames = [from_atoms(atoms) for atoms in read(files / "valid.extxyz", index=":")]
    return {name: score.scale for name, (_, score) in calibrations(frames, predict(model, frames)).items()}


def test_an_ensemble_is_calibrated_and_kept(runs, files):
    held_back = f"data.held_back={files}/valid.extxyz"
    fitted = fit_uncertainty(compose("uncertainty", f"model='{runs}/seed*'", held_back, f"output={runs}"))
    raw = eqff.load([runs / f"seed{k}" for k in range(3)])
    model = eqff.load(runs)
    assert isinstance(model, Ensemble) and len(model.members) == 3 and fitted.path == runs / "ensemble.json"
    for expected, found in zip(scales(raw, files).values(), fitted.scales, strict=True):
        assert found == pytest.approx(expected, rel=1e-4)  # files have eight decimals
    assert all(scale == pytest.approx(1.0, rel=1e-4) for scale in scales(model, files).values())
    about = json.loads((runs / "uncertainty.json").read_text())
    usual = about["largest_force_uncertainty"]
    assert usual["median_eV_per_A"] <= usual["percentile_99_eV_per_A"] <= usual["largest_eV_per_A"]
    assert (runs / "uncertainty_calibration.png").is_file()


def test_a_moved_ensemble_is_found_and_a_changed_member_is_noticed(runs, files, save):
    members = [runs / f"seed{k}" for k in range(2)]
    save_ensemble(runs / "ensemble.json", Ensemble.load(members), members)
    moved = runs.with_name(f"{runs.name}_moved")
    runs.rename(moved)
    assert len(eqff.load(moved / "ensemble.json").members) == 2
    save(5).replace(moved / "seed1" / "model.safetensors")
    with pytest.raises(ModelFileError, match="was calibrated with other weights than those of .*seed1"):
        eqff.load(moved)


def test_one_model_from_files(runs, files):
    data = (f"data.training={files}/train.extxyz", f"data.held_back={files}/valid.extxyz", "samples=8")
    fitted = fit_uncertainty(compose("uncertainty", f"model={runs}/seed0", *data))
    model = eqff.load(fitted.path)
    assert isinstance(model, LastLayerEstimate)
    assert all(scale == pytest.approx(1.0, rel=1e-3) for scale in scales(model, files).values())


def test_the_model_may_have_any_name_and_the_estimate_a_folder_of_its_own(runs, files):
    own = (runs / "seed0" / "model.safetensors").rename(runs / "seed0" / "mine.safetensors")
    data = (f"data.training={files}/train.extxyz", f"data.held_back={files}/valid.extxyz", "samples=4")
    for more, folder in (((), own.parent), ((f"output={runs}/other",), runs / "other")):
        path = fit_uncertainty(compose("uncertainty", f"model={own}", *data, *more)).path
        assert path == folder / "uncertainty.safetensors" and isinstance(eqff.load(path), LastLayerEstimate)
    moved = runs.rename(runs.with_name(f"{runs.name}_moved"))
    assert isinstance(eqff.load(moved / "other" / "uncertainty.safetensors"), LastLayerEstimate)


def test_beside_models_of_others_no_estimate_is_left():
    path = Path("cache") / "theirs-0123.safetensors"
    with pytest.raises(ConfigError, match="'theirs' lies where other models do"):
        _folder_of_estimate("theirs", path, None, shared=True)
    assert _folder_of_estimate("theirs", path, "mine", shared=True) == Path("mine")


def test_one_model_from_its_run(runs, files):
    config = {"data": {"path": f"{files}/train.extxyz", "val": f"{files}/valid.extxyz", "reference_energies": {}}}
    config["data"]["reference_energies"] = {"H": -13.6, "C": -1030.0, "N": -1486.0, "O": -2042.0}
    OmegaConf.save(OmegaConf.create(config), runs / "seed0" / "config.yaml")
    own = fit_uncertainty(compose("uncertainty", f"model={runs}/seed0", "samples=8")).scales
    data = (f"data.training={files}/train.extxyz", f"data.held_back={files}/valid.extxyz", "samples=8")
    assert fit_uncertainty(compose("uncertainty", f"model={runs}/seed0", *data)).scales == pytest.approx(own)
    (runs / "seed0" / "run.json").write_text('{"data_hash": "0123456789abcdef"}')
    with pytest.raises(DataError, match="hold other structures now"):
        fit_uncertainty(compose("uncertainty", f"model={runs}/seed0", "samples=8"))


def test_what_one_member_held_back_another_must_not_have_learned(runs):
    for seed, data_hash in enumerate("aab"):
        (runs / f"seed{seed}" / "run.json").write_text(json.dumps({"data_hash": data_hash}))
    with pytest.raises(ConfigError, match="is no run folder"):  # the same data: it goes on to read them
        fit_uncertainty(compose("uncertainty", f"model=[{runs}/seed0,{runs}/seed1]", f"output={runs}"))
    with pytest.raises(DataError, match="one may have learned what another held back"):
        fit_uncertainty(compose("uncertainty", f"model='{runs}/seed*'", f"output={runs}"))


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["model={runs}/seed0"], ConfigError, "is no run folder"),
        (["model='{runs}/seed*'", "data.held_back={valid}"], ConfigError, "output is missing"),
        (["model='{runs}/none*'", "data.held_back={valid}"], ModelError, "matches no run folder"),
        (["model=[{runs}/seed0]", "data.held_back={valid}", "output={runs}"], ModelError, "no spread to calibrate"),
        (["model='{runs}/seed*'", "data.held_back={bare}", "output={runs}"], DataError, "none of the 2 given has one"),
        (["model={runs}/seed0", "samples=0"], ConfigError, "samples is 0"),
    ],
)
def test_refusals(runs, files, overrides, error, message):
    write(runs / "bare.extxyz", [molecule(1, 5), molecule(2, 5)])
    places = {"runs": runs, "valid": files / "valid.extxyz", "bare": runs / "bare.extxyz"}
    with pytest.raises(error, match=message):
        fit_uncertainty(compose("uncertainty", *(text.format(**places) for text in overrides)))


def test_damaged_files_are_refused(runs):
    for text in ("{", "[]", '{"format": 1, "members": [], "scales": [1]}', '{"format": 2}'):
        (runs / "ensemble.json").write_text(text)
        with pytest.raises(ModelFileError, match="Calibrate again"):
            eqff.load(runs)


def test_a_list_of_runs_is_evaluated_and_simulated(runs, files, tmp_path):
    models = f"model=[{runs}/seed0,{runs}/seed1]"
    output = tmp_path / "evaluated"
    evaluate(compose("evaluate", models, f"data.path={files}/valid.extxyz", f"output={output}", "device=cpu"))
    assert json.loads((output / "valid.json").read_text())["uncertainty"]["forces"]["count"] == 12 * 5 * 3
    assert (output / "valid_uncertainty.png").is_file()
    common = (f"structure={files}/valid.extxyz", "ensemble=nve", "steps=4", "figures=false", "device=cpu")
    limits = ("max_force=1e9", "max_temperature=1e9", "max_atom_energy=1e9")
    result = simulate(compose("simulate", models, *common, *limits, f"output={tmp_path}/md", "flag_uncertainty=1e-9"))
    assert result.steps == 4 and result.averages["flagged_steps"] == 5
    stopped = simulate(compose("simulate", models, *common, *limits, f"output={tmp_path}/md2", "max_uncertainty=1e-9"))
    assert not stopped.completed and "max_uncertainty=1e-09" in stopped.message
