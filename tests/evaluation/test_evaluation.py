"""Evaluation: errors are what numpy says they are, every label finds its way, and what is missing is said."""

import io
import json

import numpy as np
import pytest
import torch
from ase.io import read
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from eqff.build import ModelContext, build_potential
from eqff.checkpoints import load_model, save_model
from eqff.data.atoms import from_atoms
from eqff.data.reading import read_frames
from eqff.errors import DataError, ModelError
from eqff.evaluation import count_states, evaluate_potential, figures, markdown, rich_report, to_dict, write_report
from eqff.evaluation.predictions import Prediction, predict
from eqff.evaluation.report import composition_baseline, write_predictions
from eqff.evaluation.tables import number
from eqff.testing.structures import closed_shell, crystal, molecule, one_of_each

CONFIG = {
    "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 2},
    "terms": {"local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4}},
}
CONTEXT = ModelContext((1, 6, 7, 8), {1: -13.6, 6: -1030.0, 7: -1486.0, 8: -2042.0})


@pytest.fixture
def potential():
    torch.manual_seed(0)
    return build_potential(CONFIG, CONTEXT, torch.float64)


@pytest.fixture
def frames():
    """All periodicities and several states, without labels."""
    found = [from_atoms(atoms) for atoms in one_of_each().values()]
    for index, frame in enumerate(found):
        frame.frame, frame.source, frame.group = index, "file.extxyz", f"group {index % 2}"
    return found


def labelled(potential, frames, noise=0.0, seed=0):
    """Frames whose labels are the model's own numbers, plus known errors."""
    rng = np.random.default_rng(seed)
    errors = []
    for frame, prediction in zip(frames, predict(potential, frames), strict=True):
        error = {"energy": noise * rng.normal(size=1), "forces": noise * rng.normal(size=(frame.num_nodes, 3))}
        frame.energy = torch.tensor(prediction.labels["energy"].reshape(1) - error["energy"])
        frame.forces = torch.tensor(prediction.labels["forces"] - error["forces"])
        errors.append(error)
    return errors


def test_errors_are_those_put_in(potential, frames):
    errors = labelled(potential, frames, noise=0.1)
    evaluation = evaluate_potential(potential, frames, batch_size=3)
    forces = 1000 * np.concatenate([e["forces"].ravel() for e in errors])
    energy = 1000 * np.concatenate([e["energy"] for e in errors])
    per_atom = energy / np.array([frame.num_nodes for frame in frames])
    for name, expected in {"forces": forces, "energy": energy, "energy_per_atom": per_atom}.items():
        found = evaluation.errors[name]
        assert found.mae == pytest.approx(np.abs(expected).mean(), rel=1e-7)
        assert found.rmse == pytest.approx(np.sqrt(np.mean(expected**2)), rel=1e-7)
        assert found.max == pytest.approx(np.abs(expected).max(), rel=1e-7)
        assert found.bias == pytest.approx(expected.mean(), rel=1e-6, abs=1e-6)
        assert found.count == expected.size
    assert evaluation.units() == {"energy": "meV", "energy_per_atom": "meV/atom", "forces": "meV/Å"}


@pytest.mark.parametrize("kind", ["element", "state", "group"])
def test_parts_add_up_to_the_whole(potential, frames, kind):
    labelled(potential, frames, noise=0.1)
    evaluation = evaluate_potential(potential, frames)
    parts = [found["forces"] for found in evaluation.parts[kind].values() if "forces" in found]
    count = sum(part.count for part in parts)
    assert len(parts) > 1 and count == evaluation.errors["forces"].count
    whole = sum(part.mae * part.count for part in parts) / count
    assert whole == pytest.approx(evaluation.errors["forces"].mae)
    assert max(part.max for part in parts) == evaluation.errors["forces"].max


def test_by_element_and_state(potential, frames):
    errors = labelled(potential, frames, noise=0.1)
    evaluation = evaluate_potential(potential, frames)
    symbols = np.concatenate([frame.numbers.numpy() for frame in frames])
    oxygen = 1000 * np.concatenate([e["forces"] for e in errors])[symbols == 8]
    assert evaluation.parts["element"]["O"]["forces"].mae == pytest.approx(np.abs(oxygen).mean())
    assert "energy" not in evaluation.parts["element"]["O"]
    anion = evaluation.parts["state"]["-1 quartet"]["energy"]
    assert anion.count == 1
    assert anion.mae == pytest.approx(1000 * abs(errors[list(one_of_each()).index("anion")]["energy"][0]))


def test_missing_labels_are_masked_and_counted(potential, frames):
    labelled(potential, frames, noise=0.1)
    del frames[0].forces
    frames[1].forces[0] = torch.nan
    evaluation = evaluate_potential(potential, frames)
    atoms = sum(frame.num_nodes for frame in frames[1:]) - 1
    assert evaluation.errors["forces"].count == 3 * atoms
    assert any("forces on 6 of 7 frames" in note for note in evaluation.notes)


def test_without_labels_only_predicts(potential, frames, tmp_path):
    evaluation = evaluate_potential(potential, frames)
    assert evaluation.errors == {} and figures(evaluation) == {}
    assert "without any comparison" in evaluation.notes[0]
    files = write_report(evaluation, tmp_path)
    assert {"json", "markdown", "predictions"} == set(files)
    assert read(files["predictions"], index="0").info["predicted_energy"] == pytest.approx(
        float(evaluation.predictions[0].labels["energy"])
    )


def test_batches_do_not_matter(potential, frames):
    one, many = predict(potential, frames, batch_size=1), predict(potential, frames, batch_size=4)
    for first, second in zip(one, many, strict=True):
        np.testing.assert_allclose(first.labels["forces"], second.labels["forces"], atol=1e-11)
        assert first.terms["local"] == pytest.approx(second.terms["local"], rel=1e-13)


def test_large_structures_go_in_smaller_batches(potential, frames, monkeypatch):
    monkeypatch.setattr("eqff.evaluation.predictions.MAX_ATOMS", 10)
    told = []
    results = predict(potential, frames, batch_size=5, progress=told.append)
    assert len(results) == sum(told) == len(frames) and len(told) > 3
    for frame, result in zip(frames, results, strict=True):
        assert result.labels["forces"].shape == (frame.num_nodes, 3)


def test_evaluation_leaves_model_and_structures_alone(potential, frames):
    potential.train()
    before = [frame.clone() for frame in frames]
    evaluate_potential(potential, frames)
    assert potential.training
    assert [set(frame.keys()) for frame in frames] == [set(frame.keys()) for frame in before]


def test_stress_and_mixed_periodicity(potential, frames):
    by_name = dict(zip(one_of_each(), frames, strict=True))
    solid = by_name["crystal"]
    stress = predict(potential, [solid], labels=["stress"])[0].labels["stress"]
    solid.stress = torch.tensor(stress)[None] + 0.01
    evaluation = evaluate_potential(potential, frames)
    assert evaluation.errors["stress"].count == 9
    assert evaluation.errors["stress"].mae == pytest.approx(1.602176634, rel=1e-6)  # 0.01 eV/Å³ in GPa
    assert any("stress on 1 of 7" in note for note in evaluation.notes)


def test_unknown_elements_are_named_with_their_frames(potential, frames):
    strange = from_atoms(molecule(3, 4, (1, 17)))
    strange.source, strange.frame = "file.extxyz", 12
    with pytest.raises(ModelError, match=r"Cl \(Z=17\) in 1 frames: file.extxyz, frame 12"):
        evaluate_potential(potential, [*frames, strange])


def test_states_the_model_never_saw(potential, frames, tmp_path):
    neutral = [frame for frame in frames if float(frame.total_charge) == 0]
    path = save_model(
        tmp_path / "m.safetensors",
        potential,
        model_config=CONFIG,
        context=CONTEXT,
        metadata={"states": count_states(neutral)},
    )
    notes = " ".join(evaluate_potential(load_model(path), frames).notes)
    assert "3 of 7 frames are in charge and spin states that the model was not trained on" in notes
    assert "-1 quartet (1 frames)" in notes
    assert not any("not trained" in note for note in evaluate_potential(load_model(path), neutral).notes)


def test_states_that_no_part_reads(potential, frames):
    assert not any("no part of the model" in note for note in evaluate_potential(potential, frames).notes)
    potential.backbone.reads = ("numbers",)
    notes = " ".join(evaluate_potential(potential, frames).notes)
    assert "differ in total_charge (-1, 0, 1), which no part of the model reads" in notes


def test_labels_asked_for_must_exist(potential, frames):
    labelled(potential, frames)
    with pytest.raises(DataError, match="no label|No frame has the label 'stress'; there are energy, forces"):
        evaluate_potential(potential, frames, labels=["stress"])
    assert set(evaluate_potential(potential, frames, labels=["forces"]).errors) == {"forces"}
    with pytest.raises(ModelError, match="does not predict 'charges'"):
        predict(potential, frames, labels=["charges"])
    with pytest.raises(DataError, match="no structures"):
        evaluate_potential(potential, [])


def test_labels_the_model_can_not_predict_are_said(potential, frames):
    frames[0].dipole = torch.zeros(1, 3, dtype=torch.float64)
    assert any("also has dipole" in note for note in evaluate_potential(potential, frames).notes)


def test_broken_predictions_are_not_hidden(potential, frames):
    labelled(potential, frames)
    potential.terms["local"].linear.weight.data[:] = torch.nan
    evaluation = evaluate_potential(potential, frames)
    assert np.isnan(evaluation.errors["forces"].mae)
    assert any("not finite: energy" in note for note in evaluation.notes)


def test_report_files(potential, frames, tmp_path):
    labelled(potential, frames, noise=0.1)
    evaluation = evaluate_potential(potential, frames, name="hard")
    files = write_report(evaluation, tmp_path / "new")
    assert all(path.stat().st_size > 0 for path in files.values())
    assert files["parity"].read_bytes()[:4] == b"\x89PNG"
    stored = json.loads(files["json"].read_text())
    assert stored == to_dict(evaluation)
    assert stored["errors"]["forces"]["mae"] == evaluation.errors["forces"].mae
    assert evaluation.metrics()["hard/forces_mae"] == evaluation.errors["forces"].mae
    text = markdown(evaluation)
    assert f"| forces | meV/Å | {evaluation.errors['forces'].mae:.3g} |" in text
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(rich_report(evaluation))
    assert "By charge and spin state" in console.export_text()


def test_predictions_can_be_read_as_structures_and_as_labels(potential, frames, tmp_path):
    labelled(potential, frames, noise=0.1)
    evaluation = evaluate_potential(potential, frames)
    path = write_report(evaluation, tmp_path)["predictions"]
    again = read_frames(path)
    for old, new in zip(frames, again, strict=True):
        assert float(new.energy) == pytest.approx(float(old.energy), rel=1e-12)
        assert torch.allclose(new.forces, old.forces, atol=1e-7)
    keys = {"predicted_energy": "energy", "predicted_forces": "forces", "energy": None, "forces": None}
    taught = evaluate_potential(potential, read_frames(path, keys=keys))
    assert taught.errors["forces"].mae < 1e-3  # meV/Å: the file keeps eight digits


def test_composition_baseline():
    frames = [from_atoms(closed_shell(molecule(seed, 3 + seed % 4))) for seed in range(12)]
    per_element = np.array([-13.6, -1030.0, -1486.0, -2042.0])
    energies = np.array([[(f.numbers == z).sum() for z in (1, 6, 7, 8)] for f in frames]) @ per_element
    energies[3] = np.nan
    rest = energies - composition_baseline(frames, energies)
    assert np.abs(np.delete(rest, 3)).max() < 1e-8
    same = [from_atoms(crystal(0))] * 3
    np.testing.assert_allclose(composition_baseline(same, np.array([1.0, 2.0, 6.0])), 3.0)


def test_tensors_of_atoms_are_written_row_by_row(frames, tmp_path):
    values = np.arange(9.0 * frames[0].num_nodes).reshape(-1, 3, 3)
    frames[0].born_charges = torch.from_numpy(values)
    labels = {"energy": np.array(1.0), "atomic_polarizabilities": values}
    write_predictions(tmp_path / "tensors.extxyz", frames[:1], [Prediction(labels)])
    found = read(tmp_path / "tensors.extxyz").arrays["predicted_atomic_polarizabilities"]
    assert np.allclose(found, values.reshape(-1, 9))
    assert np.allclose(read_frames(tmp_path / "tensors.extxyz")[0].born_charges.numpy(), values)


@given(st.floats(1e-3, 1e7))
@example(999.7)
def test_numbers_of_tables_are_plain(value):
    text = number(value)
    assert "e" not in text and float(text) == pytest.approx(value, rel=5.1e-3)
