"""Models of differences to a base: from files to a model that knows its base, and never without it."""

import json
import logging

import hydra
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule as named_molecule
from ase.calculators.lj import LennardJones
from ase.io import read, write
from foreign_calculators import Springs, lennard_jones

import eqff
from eqff.build import ModelContext, build_potential
from eqff.checkpoints import MODEL_FILE, save_model
from eqff.command_line.run import run_command
from eqff.config import config_directory
from eqff.corrections import with_terms
from eqff.data.atoms import from_atoms
from eqff.data.differences import base_of, difference_level, require_one_base, whole_level
from eqff.data.levels import LevelCounts, choose_level
from eqff.data.reading import read_frames
from eqff.data.reference_energies import reference_energies
from eqff.delta import _from_command_line as delta_task
from eqff.delta import subtract_labels
from eqff.errors import ConfigError, DataError, ModelError
from eqff.evaluate import _from_command_line as evaluate_task
from eqff.evaluation import evaluate_potential
from eqff.interfaces.calculator_energy import CalculatorEnergy
from eqff.interfaces.calculators import build_calculator, named_calculator
from eqff.interfaces.delta import DeltaCalculator, with_base
from eqff.simulate import _from_command_line as simulate_task
from eqff.testing.structures import closed_shell, crystal, molecule
from eqff.training.finetuning.settings import FinetuneSettings
from eqff.training.finetuning.start import begin
from eqff.uncertainty.ensemble import Ensemble

HERE = "foreign_calculators"
BASE = {"_target_": f"{HERE}.lennard_jones", "epsilon": 0.1}
NAME = f"{HERE}.lennard_jones(epsilon=0.1)"
OVERRIDE = f"{{_target_: {HERE}.lennard_jones, epsilon: 0.1}}"
CONFIG = {
    "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 1},
    "terms": {"local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4}},
}
EQUILIBRATION = {"_target_": "eqff.heads.charge_equilibration.ChargeEquilibration", "hidden": 4}
CHARGE_AROUND = {"external_positions": [[9.0, 0.0, 0.0]], "external_charges": [0.5]}
ENERGIES = {1: -13.6, 6: -1030.0, 7: -1486.0, 8: -2042.0}


@pytest.fixture(autouse=True)
def nothing_allowed(monkeypatch):
    monkeypatch.setattr("eqff.packages._ALLOWED_PACKAGES", ["eqff"])


@pytest.fixture
def model(tmp_path):
    """The file of a model that was trained on PBE minus the base."""
    return model_file(tmp_path / "delta", difference_level("PBE", NAME))


def model_file(folder, level, seed=0):
    torch.manual_seed(seed)
    context = ModelContext((1, 6, 7, 8), ENERGIES, level_of_theory=level)
    potential = build_potential(CONFIG, context, torch.float64)
    return save_model(folder / MODEL_FILE, potential, model_config=CONFIG, context=context)


@pytest.fixture
def labelled(tmp_path):
    """A file of molecules and a crystal with labels of another calculator, at the level PBE."""
    images = []
    for atoms in (molecule(1), molecule(2, 6, total_charge=1), crystal(3)):
        atoms.calc = lennard_jones(epsilon=0.3)
        atoms.get_forces()
        if atoms.pbc.all():
            atoms.get_stress()
        atoms.info["level_of_theory"] = "PBE"
        images.append(atoms)
    write(tmp_path / "labelled.extxyz", images)
    return tmp_path / "labelled.extxyz"


def run(task, name, *arguments):
    run_command(task, name, list(arguments), "commands")


def subtract(labelled, target, *more):
    run(
        delta_task,
        "delta",
        f"data.path={labelled}",
        f"calculator={OVERRIDE}",
        f"packages=[{HERE}]",
        f"output={target}",
        *more,
    )
    return target


# ---------------------------------------------------------------------------------------------- labels


def test_labels_are_those_minus_the_base(labelled, tmp_path):
    """Lennard-Jones energies are proportional to epsilon: 0.3 minus 0.1 is two thirds."""
    whole = read_frames(labelled)
    made = read_frames(subtract(labelled, tmp_path / "delta.extxyz"))
    assert len(made) == 3
    for before, after in zip(whole, made, strict=True):
        assert after.level_of_theory == f"PBE minus {NAME}"
        for name in ("energy", "forces", "stress"):
            if before.has(name):  # ASE writes eight decimals
                torch.testing.assert_close(after[name], before[name] * 2 / 3, rtol=1e-6, atol=2e-8)
    kept = read(tmp_path / "delta.extxyz", index=0)
    assert kept.info["base_energy"] == pytest.approx(float(whole[0].energy) / 3)
    assert kept.arrays["base_forces"].shape == (len(kept), 3)


def test_base_labels_from_a_file(labelled, tmp_path):
    images = read(labelled, index=":")
    for atoms in images:
        atoms.calc = lennard_jones(epsilon=0.1)
        atoms.get_forces()
        if atoms.pbc.all():
            atoms.get_stress()
    write(tmp_path / "base.extxyz", images)
    base = (f"base.path={tmp_path}/base.extxyz", f"base.name={NAME}")
    run(delta_task, "delta", f"data.path={labelled}", *base, f"output={tmp_path}/from_file.extxyz")
    once = read_frames(subtract(labelled, tmp_path / "computed.extxyz"))
    for one, other in zip(read_frames(tmp_path / "from_file.extxyz"), once, strict=True):
        assert one.level_of_theory == other.level_of_theory
        torch.testing.assert_close(one.forces, other.forces, rtol=0, atol=3e-8)
        torch.testing.assert_close(one.energy, other.energy, rtol=0, atol=3e-8)


def test_other_structures_are_no_base(labelled, tmp_path, capsys):
    images = read(labelled, index=":")
    images[1].positions[0, 0] += 0.01
    write(tmp_path / "base.extxyz", images)
    with pytest.raises(SystemExit):
        run(delta_task, "delta", f"data.path={labelled}", f"base.path={tmp_path}/base.extxyz", "base.name=X",
            f"output={tmp_path}/x.extxyz")  # fmt: skip
    assert "are not the same structure" in capsys.readouterr().err
    assert not (tmp_path / "x.extxyz").exists()


def test_structures_on_which_the_base_fails_are_told(labelled, tmp_path, caplog, capsys):
    with caplog.at_level(logging.WARNING):
        run(delta_task, "delta", f"data.path={labelled}", f"calculator={{_target_: {HERE}.Fails, at: 2}}",
            f"packages=[{HERE}]", f"output={tmp_path}/part.extxyz", "data.labels=[energy]")  # fmt: skip
    assert len(read(tmp_path / "part.extxyz", index=":")) == 2
    assert "labelled.extxyz, frame 2: " in caplog.text and "SCF not converged" in caplog.text
    assert "1 left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["output=x.extxyz"], "either as calculator=... or as base.path"),
        (["output=x.extxyz", "base.path=a.extxyz"], "base.name is missing"),
        (["output=x.xyz", f"calculator={OVERRIDE}"], "must end in .extxyz"),
        (["output=x.extxyz", f"calculator={OVERRIDE}"], "not allowed"),
        (["output=labelled.extxyz", f"calculator={OVERRIDE}"], "is there already"),
        ([f"calculator={OVERRIDE}"], "output is missing"),
    ],
)
def test_what_can_not_be_subtracted(labelled, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(labelled.parent)
    with pytest.raises(SystemExit):
        run(delta_task, "delta", f"data.path={labelled}", *arguments)
    assert words in capsys.readouterr().err


def test_isolated_atoms_are_differences_where_all_else_is(labelled, tmp_path):
    """Energies of the elements that are whole would be a thousand times those of what is to be learned."""
    frames = read_frames(subtract(labelled, tmp_path / "delta.extxyz"))
    singles = [Atoms([z], [[0, 0, 0]], info={"REF_energy": e, "level_of_theory": "PBE"}) for z, e in ENERGIES.items()]
    write(tmp_path / "atoms.extxyz", singles)
    with pytest.raises(DataError, match="labels minus .*, whole labels are not the same .*python -m eqff.delta"):
        reference_energies(str(tmp_path / "atoms.extxyz"), frames)
    state = ("data.total_charge=0", "data.multiplicity=lowest")
    subtract(tmp_path / "atoms.extxyz", tmp_path / "minus.extxyz", *state)
    found = reference_energies(str(tmp_path / "minus.extxyz"), frames)
    assert found.energies == pytest.approx({z: ENERGIES[z] for z in found.energies})  # atoms alone have no pairs
    with pytest.raises(DataError, match="whole labels are not the same"):
        reference_energies(str(tmp_path / "minus.extxyz"), read_frames(labelled))


def test_differences_of_differences_are_refused(labelled, tmp_path, capsys):
    once = subtract(labelled, tmp_path / "once.extxyz")
    with pytest.raises(SystemExit):
        subtract(once, tmp_path / "twice.extxyz")
    assert "differences already" in capsys.readouterr().err


def test_bodies_as_a_base(tmp_path):
    """Energies of pairs are sums over one and two molecules, so nothing is left beyond two."""
    liquid = named_molecule("H2O")
    for place in ((3, 0, 0), (0, 3.2, 0.5)):
        other = named_molecule("H2O")
        other.positions += place
        liquid += other
    liquid.info.update(total_charge=0, multiplicity=1)
    liquid.calc = lennard_jones(epsilon=0.1)
    liquid.get_forces()
    write(tmp_path / "liquid.extxyz", liquid)
    bodies = "{_target_: eqff.fragments.many_body.ManyBodyExpansion, order: ORDER, calculator: " + OVERRIDE + "}"
    found = {}
    for order in (1, 2):
        run(delta_task, "delta", f"data.path={tmp_path}/liquid.extxyz", f"output={tmp_path}/{order}.extxyz",
            f"calculator={bodies.replace('ORDER', str(order))}", f"packages=[{HERE}]")  # fmt: skip
        (found[order],) = read_frames(tmp_path / f"{order}.extxyz")
    assert abs(float(found[2].energy)) < 1e-7 < abs(float(found[1].energy))
    assert float(found[2].forces.abs().max()) < 1e-7  # files have eight decimals
    assert base_of(found[1].level_of_theory).startswith("eqff.fragments.many_body.ManyBodyExpansion(calculator=")


@pytest.mark.parametrize("level", ["", "PBE", "wB97X-D3/def2-TZVP"])
def test_the_level_says_both(level):
    both = difference_level(level, NAME)
    assert base_of(both) == NAME and whole_level(both) == level
    assert base_of(level) is None and whole_level(level) == level


def test_whole_labels_and_differences_are_not_mixed():
    both, file = difference_level("PBE", NAME), "a.extxyz"
    require_one_base([both, difference_level("B3LYP", NAME)], "all")
    train, other = LevelCounts({(both, file): 3}), LevelCounts({("", file): 1})
    assert choose_level({"train": train, "test": LevelCounts({(both, file): 1})}, "refuse", None) is None
    for sets in ({"train": train, "test": other}, {"train": train + other}):
        for mixed in ("refuse", "offset"):
            with pytest.raises(DataError, match="whole labels are not the same quantity"):
                choose_level(sets, mixed, None)


def test_fine_tuning_and_ensembles_do_not_mix_them(model, tmp_path):
    fresh = ModelContext((1, 6, 7, 8), ENERGIES, level_of_theory="PBE")
    with pytest.raises(DataError, match="whole labels are not the same quantity"):
        begin(FinetuneSettings(model=str(model)), CONFIG, fresh, [], torch.float64)
    with pytest.raises(ModelError, match="level of theory"):
        Ensemble.load([model, model_file(tmp_path / "whole", "PBE", seed=1)])


# ---------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize("make", [molecule, crystal])
def test_model_and_base_are_one_calculator(model, make):
    atoms = make(1)
    whole = DeltaCalculator(model, BASE, packages=[HERE], with_stress=bool(atoms.pbc.all()))
    alone, base = eqff.load(model).calculator(difference=True), lennard_jones(epsilon=0.1)
    names = ["energy", "forces", *(["stress"] if atoms.pbc.all() else [])]
    for name in names:
        expected = alone.get_property(name, atoms) + base.get_property(name, atoms)
        np.testing.assert_allclose(whole.get_property(name, atoms), expected, rtol=1e-12, atol=1e-10)
    parts = whole.results["energies_per_term"]
    assert parts["base"] == pytest.approx(base.get_property("energy", atoms), rel=1e-12)
    assert sum(parts.values()) == pytest.approx(whole.results["energy"], rel=1e-14)


def test_alone_it_is_refused(model):
    with pytest.raises(ModelError, match=rf"labels minus {NAME.replace('(', '.').replace(')', '.')}"):
        eqff.load(model).calculator()
    with pytest.raises(DataError, match="base=..."):
        evaluate_potential(eqff.load(model), [from_atoms(molecule(1))])


def test_another_base_is_refused_and_an_unnamed_one_told(model, tmp_path, caplog):
    with pytest.raises(ModelError, match=r"epsilon=0.2\), but the model was trained on labels minus .*epsilon=0.1"):
        DeltaCalculator(model, {**BASE, "epsilon": 0.2}, packages=[HERE])
    with caplog.at_level(logging.WARNING):
        DeltaCalculator(model, Springs())
    assert f"Springs is taken for the model's base, {NAME}" in caplog.text
    plain = model_file(tmp_path / "plain", "PBE")
    with pytest.raises(ModelError, match="names no base"):
        DeltaCalculator(plain, BASE, packages=[HERE])


def test_every_member_of_an_ensemble_gets_the_base(model, tmp_path, monkeypatch):
    other = model_file(tmp_path / "other", difference_level("PBE", NAME), seed=1)
    ensemble = Ensemble.load([model, other])
    whole = with_base(ensemble, build_calculator(BASE, [HERE])).calculator()
    alone, atoms = ensemble.calculator(difference=True), molecule(1)
    expected = alone.get_property("forces", atoms) + lennard_jones(epsilon=0.1).get_property("forces", atoms)
    np.testing.assert_allclose(whole.get_property("forces", atoms), expected, atol=1e-10)
    # the base is the same in all members: it adds nothing to their spread, and is computed once
    assert whole.results["energy_uncertainty"] == pytest.approx(alone.results["energy_uncertainty"], rel=1e-9)
    count, calculate = [], LennardJones.calculate
    monkeypatch.setattr(LennardJones, "calculate", lambda *given: [count.append(1), calculate(*given)])
    whole.get_property("forces", molecule(2))
    assert len(count) == 1


def test_evaluation_with_the_base_is_evaluation_of_differences(model, labelled, tmp_path):
    target = subtract(labelled, tmp_path / "delta.extxyz")
    run(evaluate_task, "evaluate", f"model={model}", f"data.path={labelled}", "name=test", f"output={tmp_path}/whole",
        f"base={OVERRIDE}", f"packages=[{HERE}]", "device=cpu", "predictions=false")  # fmt: skip
    whole = json.loads((tmp_path / "whole" / "test.json").read_text())
    differences = evaluate_potential(eqff.load(model), read_frames(target)).errors
    for quantity in ("energy", "forces", "stress"):
        assert whole["errors"][quantity]["mae"] == pytest.approx(differences[quantity].mae, rel=1e-5)
    assert whole["evaluated"]["base"] == NAME


def test_simulation_with_the_base(model, tmp_path, capsys):
    atoms = closed_shell(molecule(1, 4))
    write(tmp_path / "start.extxyz", atoms)
    common = (f"model={model}", f"structure={tmp_path}/start.extxyz", "device=cpu", "steps=4", "ensemble=nve",
              "timestep=0.1", "max_force=1e5", "max_temperature=1e9", "max_atom_energy=1e9", "log_every=1")  # fmt: skip
    with pytest.raises(SystemExit):
        run(simulate_task, "simulate", *common, f"output={tmp_path}/alone")
    assert "trained on labels minus" in capsys.readouterr().err
    with_it = (f"base={OVERRIDE}", f"packages=[{HERE}]")
    run(simulate_task, "simulate", *common, *with_it, f"output={tmp_path}/both", "figures=false")
    last = read(tmp_path / "both" / "trajectory.extxyz", index=0)
    expected = DeltaCalculator(model, BASE, packages=[HERE]).get_property("energy", atoms)
    assert last.get_potential_energy() == pytest.approx(expected, abs=1e-6)
    with pytest.raises(SystemExit):  # a folder can't bring code that nobody has allowed
        run(simulate_task, "simulate", f"resume={tmp_path}/both", "steps=6")
    assert "trust_code=true" in capsys.readouterr().err
    run(simulate_task, "simulate", f"resume={tmp_path}/both", "steps=6", "trust_code=true")


@pytest.mark.slow
def test_a_compiled_model_and_its_base(model, tmp_path):
    from eqff.export.export import export_model

    export_model(model, tmp_path / "model.pt2")
    exported = eqff.load(tmp_path / "model.pt2", trust_code=True)
    with pytest.raises(ModelError, match="labels minus"):
        exported.calculator()
    for atoms in (molecule(1), crystal(3)):
        one, other = (DeltaCalculator(each, BASE, packages=[HERE]) for each in (exported, model))
        for name in ("energy", "forces", *(["stress"] if atoms.pbc.all() else [])):
            np.testing.assert_allclose(one.get_property(name, atoms), other.get_property(name, atoms), atol=1e-11)


def test_a_training_keeps_the_base_in_its_model(labelled, tmp_path):
    from eqff.train import train

    target = subtract(labelled, tmp_path / "delta.extxyz")
    overrides = [
        *(f"data.path={target}", f"data.val={target}", f"output={tmp_path}/run"),
        *("model=minimal", "model.backbone.channels=4", "tracking=none", "trainer.accelerator=cpu"),
        *("trainer.max_steps=1", "trainer.enable_progress_bar=false", "figures=false"),
    ]
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
        cfg = hydra.compose("train", overrides=overrides)
        simulated = hydra.compose("train", overrides=[*overrides, f"+simulate.structure={target}"])
    folder = train(cfg).folder
    assert eqff.load(folder).metadata.model_context().level_of_theory == f"PBE minus {NAME}"
    with pytest.raises(ConfigError, match="a simulation needs the sum"):
        train(simulated)


def test_one_thing_is_evaluated(model, labelled, capsys):
    wrong = {f"model={model}": "stands in place", f"base={OVERRIDE}": "stands in place", "clusters=2": "features"}
    for more, words in wrong.items():
        with pytest.raises(SystemExit):
            run(evaluate_task, "evaluate", f"calculator={OVERRIDE}", f"data.path={labelled}", more)
        assert words in capsys.readouterr().err


def test_help_prints_the_settings(capsys):
    run_command(lambda cfg: pytest.fail("ran"), "delta", ["--help"], "commands")
    assert "python -m eqff.delta " in capsys.readouterr().out


def test_a_calculator_gives_no_differences(labelled, tmp_path, capsys):
    target = subtract(labelled, tmp_path / "delta.extxyz")
    with pytest.raises(SystemExit):
        run(evaluate_task, "evaluate", f"calculator={OVERRIDE}", f"packages=[{HERE}]", f"data.path={target}",
            f"output={tmp_path}/x")  # fmt: skip
    assert "not the same quantity" in capsys.readouterr().err
    assert named_calculator(Springs()).name is None


@pytest.mark.parametrize("info", [{"electric_field": [0, 0, 0.1]}, CHARGE_AROUND])
def test_a_base_is_not_asked_among_what_it_is_not_told_of(info):
    """The model itself answers both; the base would go on as if there were nothing."""
    config = {**CONFIG, "heads": {"charges": EQUILIBRATION}}
    config["terms"] = {**CONFIG["terms"], "equilibration": {"_target_": "eqff.terms.field_energy.FieldEnergy"}}
    potential = build_potential(config, ModelContext((1, 6, 7, 8), ENERGIES), torch.float64).eval()
    atoms = molecule(1)
    atoms.info |= info
    atoms.calc = potential.calculator()
    atoms.get_potential_energy()
    atoms.calc = with_terms(potential, {"base": CalculatorEnergy(named_calculator(lennard_jones()))}).calculator()
    with pytest.raises(ModelError, match="LennardJones is not told of electric fields and external charges"):
        atoms.get_potential_energy()


def test_a_base_of_other_structures_is_refused():
    """Of the same atoms in another cell, or without the charges around them."""
    first = crystal(3)
    second = first.copy()
    second.set_cell(first.cell.array * 1.01)
    around = molecule(1)
    around.info |= CHARGE_AROUND
    for one, other in ((first, second), (around, molecule(1))):
        with pytest.raises(DataError, match="are not the same structure"):
            subtract_labels([from_atoms(one)], [from_atoms(other)], "X")
