"""Fine-tuning: weights, elements' energies, structure, freezing, resuming."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from eqff.checkpoints import load_model, read_metadata
from eqff.data.module import AtomicDataModule
from eqff.data.reading import read_frames
from eqff.errors import ConfigError, EqffError
from eqff.evaluation.predictions import predict
from eqff.train import train
from eqff.training.finetuning.command_line import with_structure, written
from eqff.training.finetuning.freezing import freeze
from eqff.training.finetuning.settings import FinetuneSettings
from eqff.training.finetuning.weights import take_over

SHIFT = {1: 3.0, 8: -40.0}
"""eV; how another level of theory differs."""


@pytest.fixture
def old(compose):
    """A trained model's run folder."""
    return train(compose(output="old")).folder


@pytest.fixture
def other_level(water_file, tmp_path):
    """The same structures at another level of theory, and hydroxyl radicals' worth of other compositions."""
    frames = []
    for index, atoms in enumerate(read(water_file, ":")):
        moved = atoms.copy()
        energy = atoms.get_potential_energy() + sum(SHIFT[z] for z in atoms.numbers)
        moved.calc = SinglePointCalculator(moved, energy=energy, forces=atoms.get_forces())
        moved.info |= {"total_charge": 0, "multiplicity": 1, "number": index}
        frames.append(moved)
    path = tmp_path / "other.extxyz"
    write(path, frames)
    return path


def energies(model, path):
    frames = read_frames(path)
    return np.array([float(p.labels["energy"]) for p in predict(model, frames, labels=("energy",))])


def begin(compose, old, data, *overrides, output="new"):
    chosen = ["+finetune.model=" + str(old), "+finetune.restart=[]", "+finetune.freeze=[]"]
    config = compose(*chosen, "trainer.max_epochs=1", *overrides, output=output)
    config.data.path = str(data)
    return train(config)


def test_a_model_on_another_level_starts_as_good_as_it_was(compose, old, other_level, water_file, capsys):
    capsys.readouterr()
    result = begin(compose, old, other_level, "+finetune.lr_factor=1e-9", "training.ema=null", "training.keep=last")
    said = capsys.readouterr().out.partition("Energies of 2 elements")[2].partition("Model:")[0]
    assert "Only 1 of 2 combinations" in said and max(map(len, said.splitlines())) <= 120
    before, after = load_model(old), load_model(result.folder)
    # all frames are of one composition: what is found is their mean difference, spread over the elements
    shift = sum(SHIFT[z] for z in (8, 1, 1))
    errors = energies(before, water_file) - [a.get_potential_energy() for a in read(water_file, ":")]
    moved = energies(after, other_level) - [a.get_potential_energy() for a in read(other_level, ":")]
    assert abs(np.mean(moved)) < 0.5 * abs(np.mean(errors)) + 0.05 * errors.std() + 1e-3
    assert np.allclose(energies(after, water_file) - energies(before, water_file), shift - errors.mean(), atol=0.05)


def test_keep_leaves_energies_alone(compose, old, other_level):
    chosen = ("+finetune.reference_energies=keep", "+finetune.lr_factor=1e-9")
    result = begin(compose, old, other_level, *chosen, "training.ema=null", "training.keep=last")
    assert np.allclose(
        energies(load_model(old), other_level), energies(load_model(result.folder), other_level), atol=1e-3
    )


@pytest.fixture
def carbon_monoxide(tmp_path):
    """Stretched molecules with an element that water has not."""
    rng = np.random.default_rng(3)
    frames = []
    for stretch in 0.1 * rng.random(12):
        atoms = Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.1 + stretch]])
        forces = np.array([[0, 0, stretch], [0, 0, -stretch]])
        atoms.calc = SinglePointCalculator(atoms, energy=-3000.0 + stretch**2 / 2, forces=forces)
        atoms.info |= {"total_charge": 0, "multiplicity": 1}
        frames.append(atoms)
    path = tmp_path / "co.extxyz"
    write(path, frames)
    return path


def test_new_elements_leave_predictions_for_old_ones(compose, old, carbon_monoxide, water_file):
    chosen = ("+finetune.reference_energies=keep", "+finetune.lr_factor=1e-9", f"+data.test.old={water_file}")
    result = begin(compose, old, carbon_monoxide, *chosen, "training.ema=null", "training.keep=last")
    model = load_model(result.folder)
    assert model.elements == (1, 6, 8)
    assert np.allclose(energies(model, water_file), energies(load_model(old), water_file), atol=1e-3)
    assert "| old | energy |" in (result.folder / "report.md").read_text(encoding="utf-8")


def test_frozen_weights_stay_and_others_move(compose, old, water_file):
    result = begin(compose, old, water_file, "finetune.freeze=[backbone.*]", "training.ema=null", "training.keep=last")
    before, after = load_model(old).state_dict(), load_model(result.folder).state_dict()
    same = {name: torch.equal(before[name], after[name]) for name in before}
    assert all(equal for name, equal in same.items() if name.startswith("backbone."))
    assert not any(equal for name, equal in same.items() if name.startswith("terms.local.") and "weight" in name)


def test_new_elements_are_trained_in_a_frozen_backbone(compose, carbon_monoxide, capsys):
    """Also with a moving average of the weights, and in a run that goes on without the old model."""
    painn = ("~model.backbone", "+model.backbone={_target_: eqff.backbones.painn.PaiNN, channels: 4}")
    old = train(compose(*painn, output="old")).folder
    before = load_model(old).state_dict()
    begin(compose, old, carbon_monoxide, *painn, "finetune.freeze=[backbone.*]", "training.keep=last")
    said = "weights frozen; rows of new elements are trained in 1 frozen tables"
    assert capsys.readouterr().out.count(said) == 1
    shutil.rmtree(old)
    run = train(compose(f"resume={old.parent / 'new'}"), ["trainer.max_epochs=3"]).folder
    assert (run / "report.md").read_text(encoding="utf-8").count(said) == 1
    after = load_model(run).state_dict()
    backbone = [name for name in before if name.startswith("backbone.")]
    table = after["backbone.embedding"]
    assert torch.equal(table[[0, 2]], before["backbone.embedding"])  # H and O, with C in between
    assert not torch.isclose(table[1], table[2], rtol=1e-3).any()  # where it began
    assert all(torch.equal(after[name], before[name]) for name in backbone if name != "backbone.embedding")


def test_nothing_but_rows_of_new_elements_is_trained(compose, old, carbon_monoxide, water_file):
    """In a backbone whose table has a row for each atomic number."""
    with pytest.raises(ConfigError, match="nothing to train"):
        begin(compose, old, water_file, "finetune.freeze=['*']", output="nothing")
    result = begin(compose, old, carbon_monoxide, "finetune.freeze=['*']", "training.ema=null", "training.keep=last")
    before, after = load_model(old).state_dict(), load_model(result.folder).state_dict()
    table = "backbone.species.weight"
    moved = (after[table] != before[table]).any(dim=1).nonzero().flatten().tolist()
    assert moved == [6]
    steps = (after[table][6] - before[table][8]).abs()  # from where it began
    assert 0 < float(steps.max()) < 0.05
    assert all(torch.equal(after[name], before[name]) for name in before if name != table and "reference" not in name)


def test_restarted_weights_are_others(compose, old, water_file):
    result = begin(compose, old, water_file, "finetune.restart=[terms.local.linear.*]", "+finetune.lr_factor=1e-9")
    before, after = load_model(old).state_dict(), load_model(result.folder).state_dict()
    assert not torch.allclose(before["terms.local.linear.weight"], after["terms.local.linear.weight"], atol=1e-3)
    assert torch.allclose(before["terms.local.nonlinear.0.weight"], after["terms.local.nonlinear.0.weight"], atol=1e-3)


def test_resumed_without_the_old_model(compose, old, other_level):
    whole = begin(compose, old, other_level, "trainer.max_epochs=4", output="whole")
    begin(compose, old, other_level, "trainer.max_epochs=2", output="parts")
    shutil.rmtree(old)
    parts = train(compose(f"resume={whole.folder.parent / 'parts'}"), ["trainer.max_epochs=4"])
    assert load_model(parts.folder).metadata.context == load_model(whole.folder).metadata.context
    for name, value in load_model(whole.folder).state_dict().items():
        assert value.shape == load_model(parts.folder).state_dict()[name].shape


def test_structure_comes_from_the_file(old):
    argv = with_structure(["--multirun", f"finetune.model={old}", "model.heads.dipole.channels=3"])
    assert argv[0] == "--multirun"
    assert argv[1:3] == ["~model", f"++model={written(read_metadata(old).model_config)}"]
    assert argv[3] == "finetune=full"
    assert with_structure(["model=qeq", f"finetune.model={old}"]) == [
        "finetune=full",
        "model=qeq",
        f"finetune.model={old}",
    ]
    assert with_structure(["data.path=x"]) == ["data.path=x"]
    with pytest.raises(ConfigError, match="model=NAME"):
        with_structure([f"finetune.model={old}", "model/backbone=painn"])


def test_written_values_are_read_as_they_were():
    from hydra.core.override_parser.overrides_parser import OverridesParser

    value = {"a": {"b": [1, 2.5e-6, True, None], "c": "it's a {word}, [1] \\ : x"}, "d": "1.0", "e": "true", "f": {}}
    parsed = OverridesParser.create().parse_override(f"++x={written(value)}").value()
    assert parsed == value


@pytest.mark.parametrize("setting", ["restart", "freeze"])
def test_patterns_without_a_match_are_refused(old, setting):
    model, other = load_model(old), load_model(old)
    with pytest.raises(ConfigError, match=r"heads\.charge.*names start with backbone"):
        take_over(model, other, ["heads.charge*"]) if setting == "restart" else freeze(model, ["heads.charge*"])
    with pytest.raises(ConfigError, match="nothing to train"):
        freeze(model, ["*"])


def test_a_backbone_that_does_not_fit_is_refused(compose, old, water_file):
    with pytest.raises(ConfigError, match="nothing of its backbone fits"):
        begin(compose, old, water_file, "model.backbone.channels=6", "model.backbone.num_radial=5")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("finetune.restart=[heads.charges.*]", "finetune.restart: 'heads.charges.*' matches no weight"),
        ("finetune.freeze=[terms.locale.*]", "finetune.freeze: 'terms.locale.*' matches no weight"),
        ("finetune.model=nowhere/model.safetensors", "no model at 'nowhere/model.safetensors'"),
        ("model.backbone.channels=6", "nothing of its backbone fits"),
    ],
)
def test_what_can_not_be_taken_over_is_told_before_data_are_read(compose, old, setting, message):
    with pytest.raises(EqffError, match=re.escape(message)):
        begin(compose, old, "data/that/does/not/exist.extxyz", "model.backbone.num_radial=5", setting)


def test_learning_rates_are_multiplied_in_groups_too():
    optimizer = {"lr": 0.02, "adam_lr": 0.01, "momentum": 0.9, "groups": {"a": {"match": "terms.*", "lr": 1.0}}}
    found = FinetuneSettings("x", lr_factor=0.5).optimizer(optimizer)
    assert found == {"lr": 0.01, "adam_lr": 0.005, "momentum": 0.9, "groups": {"a": {"match": "terms.*", "lr": 0.5}}}


def test_extra_frames_are_trained_on_and_never_split_off(compose, water_file, other_level):
    module = AtomicDataModule(str(water_file), split={"val": 6}, extra=f"{other_level}@:5")
    module.read()
    assert (len(module.frames["train"]), len(module.frames["val"])) == (24 - 6 + 5, 6)
    own = [float(frame.energy) for frame in read_frames(water_file)]
    for name, extra in (("train", 5), ("val", 0)):
        shifted = [frame for frame in module.frames[name] if min(abs(float(frame.energy) - e) for e in own) > 1.0]
        assert len(shifted) == extra


def test_a_learning_rate_that_is_not_given_is_not_passed_over():
    with pytest.raises(ConfigError, match="optimizer.lr is null"):
        FinetuneSettings("x").optimizer({"lr": None})
