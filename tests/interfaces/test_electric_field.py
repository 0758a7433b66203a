"""An external field's way from files, atoms and settings to the model."""

import numpy as np
import pytest
import torch
from ase.calculators.fd import calculate_numerical_forces
from ase.io import write

from eqff.build import ModelContext, build_potential
from eqff.data.atoms import from_atoms, to_atoms
from eqff.data.columns import Columns
from eqff.data.frame_sequence import MemoryFrames
from eqff.data.graph import graph_from_batch
from eqff.data.reading import read_frames
from eqff.data.statistics import content_hash
from eqff.errors import DataError, ModelError
from eqff.evaluation.predictions import predict
from eqff.simulation.settings import SimulationSettings
from eqff.simulation.start import attach_calculator
from eqff.testing.structures import molecule, slab

FIELD = [0.1, -0.2, 0.3]
MODEL = {
    "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 2, "cutoff": 3.0},
    "heads": {
        "charges": {"_target_": "eqff.heads.charges.Charges", "hidden": 4},
        "dipole": {"_target_": "eqff.heads.dipole.Dipole", "atomic_dipoles": False},
    },
    "terms": {
        "local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4},
        "field": {"_target_": "eqff.terms.uniform_field.UniformField"},
    },
}


@pytest.fixture
def potential():
    torch.manual_seed(0)
    return build_potential(MODEL, ModelContext((1, 6, 7, 8), {1: 0.0, 6: 0.0, 7: 0.0, 8: 0.0}), torch.float64)


def _in_field(seed=1, field=FIELD):
    atoms = molecule(seed)
    atoms.info["electric_field"] = field
    return atoms


def test_from_a_file_through_batches_to_the_graph(tmp_path):
    write(tmp_path / "x.extxyz", [_in_field(), molecule(2)])
    frames = read_frames(tmp_path / "x.extxyz", labels=())
    graph = graph_from_batch(MemoryFrames(frames).batch([0, 1]), torch.float64)
    expected = torch.tensor([FIELD, [0.0, 0.0, 0.0]], dtype=torch.float64)  # where nothing is stated there is none
    torch.testing.assert_close(graph.electric_field, expected)


def test_units_and_other_names(tmp_path):
    atoms = molecule(1)
    atoms.info["efield"] = FIELD
    write(tmp_path / "x.extxyz", atoms)
    (frame,) = read_frames(tmp_path / "x.extxyz", units={"electric_field": "hartree/bohr/e"}, labels=())
    np.testing.assert_allclose(frame.electric_field[0], np.array(FIELD) * 51.42206747632, rtol=1e-9)


def test_a_field_that_is_no_number_is_refused(tmp_path):
    write(tmp_path / "x.extxyz", _in_field(field=[0.0, float("nan"), 0.0]))
    with pytest.raises(DataError, match=r"electric_field has 1 number"):
        read_frames(tmp_path / "x.extxyz", labels=())


def test_to_ase_and_back():
    frame = from_atoms(_in_field())
    again = from_atoms(to_atoms(frame))
    torch.testing.assert_close(again.electric_field, frame.electric_field)
    assert "electric_field" not in to_atoms(from_atoms(molecule(1))).info


def test_it_tells_structures_apart():
    """The same geometry in another field is another structure; without one, hashes are those of before."""
    plain, inside = from_atoms(molecule(1)), from_atoms(_in_field())
    assert content_hash([plain]) != content_hash([inside])
    assert MemoryFrames([plain]).fingerprints() != MemoryFrames([inside]).fingerprints()
    without = from_atoms(molecule(1))
    del without.electric_field
    assert content_hash([plain]) == content_hash([without])
    assert not Columns.of([without]).stated("electric_field").any()


def test_calculator(potential):
    stated, given = _in_field(), molecule(1)
    stated.calc, given.calc = potential.calculator(), potential.calculator(electric_field=FIELD)
    expected = predict(potential, [from_atoms(stated)], labels=("energy",))[0].labels["energy"]
    assert stated.get_potential_energy() == given.get_potential_energy() == pytest.approx(float(expected), rel=1e-14)
    assert given.calc.results["energies_per_term"]["field"] == pytest.approx(-np.dot(FIELD, given.get_dipole_moment()))
    np.testing.assert_allclose(given.get_forces(), calculate_numerical_forces(given, eps=1e-5), atol=1e-7)


def test_calculator_notices_another_field(potential):
    atoms = _in_field()
    atoms.calc = potential.calculator()
    before = atoms.get_potential_energy()
    atoms.info["electric_field"] = [0.0, 0.0, 0.0]
    assert atoms.get_potential_energy() != before
    del atoms.info["electric_field"]
    assert atoms.get_potential_energy() != before


@pytest.mark.parametrize("kind", [list, np.array])
def test_calculator_notices_its_own_field_edited(potential, kind):
    atoms = molecule(1)
    atoms.calc = potential.calculator()
    atoms.calc.electric_field = kind([0.0, 0.0, 0.1])
    before = atoms.get_potential_energy()
    atoms.calc.electric_field[2] = 0.2
    after = atoms.get_potential_energy()
    atoms.calc = potential.calculator(electric_field=[0.0, 0.0, 0.2])
    assert after != before and after == atoms.get_potential_energy()


def test_calculator_refuses_two_fields(potential):
    atoms = _in_field()
    atoms.calc = potential.calculator(electric_field=[0, 0, 1])
    with pytest.raises(ModelError, match="one place only"):
        atoms.get_potential_energy()


def test_calculator_refuses_a_field_along_a_slab(potential):
    atoms = slab(1)
    atoms.calc = potential.calculator(electric_field=FIELD)
    with pytest.raises(ModelError, match="along a lattice vector"):
        atoms.get_potential_energy()


def test_simulations_take_a_field(potential):
    atoms = molecule(1)
    attach_calculator(atoms, potential, SimulationSettings("x.xyz", electric_field=tuple(FIELD)))
    other = _in_field()
    other.calc = potential.calculator()
    assert atoms.get_potential_energy() == other.get_potential_energy()


def test_a_field_is_noticed_to_the_last_digit(potential):
    """However arrays are printed."""
    atoms = _in_field(field=np.array([0.0, 0.0, 1e-4]))
    atoms.calc = potential.calculator()
    with np.printoptions(precision=3):
        before = atoms.get_potential_energy()
        atoms.info["electric_field"] = np.array([0.0, 0.0, 2e-4])
        after = atoms.get_potential_energy()
    fresh = atoms.copy()
    fresh.calc = potential.calculator()
    assert after != before and after == fresh.get_potential_energy()
