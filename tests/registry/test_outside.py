"""Outside of what a model was trained on: warned of, refused or computed, as model, registry or user say."""

import shutil
import warnings

import pytest
import torch

import eqff
from eqff.checkpoints import save_model
from eqff.data.atoms import from_atoms
from eqff.errors import ConfigError, ModelError
from eqff.evaluation import evaluate_potential
from eqff.testing.structures import molecule


@pytest.fixture
def cation():
    atoms = molecule(1, 4, (1, 6, 8))
    atoms.info.update(total_charge=1, multiplicity=1 + (int(atoms.numbers.sum()) - 1) % 2)
    return atoms


@pytest.fixture
def strict(registered, entry, model_file):
    """The model under an entry that refuses."""
    path = registered(strict=entry | {"outside": "refuse"})
    shutil.copy(model_file, path.parent / "water.safetensors")
    return eqff.load("strict")


def energy(potential, atoms, **settings):
    atoms.calc = potential.calculator(**settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return atoms.get_potential_energy()


def test_calculator(model_file, cation):
    model = eqff.load(model_file)
    with pytest.raises(UserWarning, match=r"not trained on the state \+1"):
        energy(model, cation)
    with pytest.raises(ModelError, match=r'not trained on the state \+1 .*outside="warn"'):
        energy(model, cation, outside="refuse")
    energy(model, cation, outside="allow")
    with pytest.raises(ConfigError, match="outside can't be 'refus'. Did you mean 'refuse'"):
        energy(model, cation, outside="refus")


def test_a_strict_entry_refuses_unless_told_otherwise(strict, cation):
    with pytest.raises(ModelError, match="not trained on the state"):
        energy(strict, cation)
    energy(strict, cation, outside="allow")


def test_a_strict_file_refuses(tmp_path, cation, model_file):
    model = eqff.load(model_file)
    path = save_model(
        tmp_path / "m.safetensors",
        model,
        model_config=model.metadata.model_config,
        context=model.metadata.model_context(),
        metadata=model.metadata.training | {"outside": "refuse"},
    )
    with pytest.raises(ModelError, match="not trained on the state"):
        energy(eqff.load(path), cation)


def test_evaluation(model_file, strict, cation):
    model, frames = eqff.load(model_file), [from_atoms(cation)]
    frames[0].energy = torch.zeros(1, dtype=torch.float64)
    assert any("not trained on" in note for note in evaluate_potential(model, frames).notes)
    assert not any("not trained on" in note for note in evaluate_potential(model, frames, outside="allow").notes)
    for potential, outside in ((model, "refuse"), (strict, None)):
        with pytest.raises(ModelError, match=r"1 of 1 frames are in .* outside=warn"):
            evaluate_potential(potential, frames, outside=outside)
    assert any("not trained on" in note for note in evaluate_potential(strict, frames, outside="warn").notes)


def test_elements_are_refused_whatever_is_said(model_file):
    atoms = molecule(1, 4, (1, 17))
    with pytest.raises(ModelError, match="Cl"):
        energy(eqff.load(model_file), atoms, outside="allow", total_charge=0, multiplicity="lowest")
