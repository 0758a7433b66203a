"""Exported models: their functions equal the model, with what runs beside; files refuse what they should."""

import base64
import contextlib
import copy
import functools
import hashlib
import json
import zipfile
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import eqff
from eqff.build import ModelContext, build_potential
from eqff.checkpoints import load_model, save_model
from eqff.config import config_directory
from eqff.corrections import corrected, lacking_corrections
from eqff.data.atoms import from_atoms
from eqff.errors import ConfigError, DataError, ModelError, ModelFileError
from eqff.evaluation.predictions import predict
from eqff.export import export
from eqff.export.compiling import Compilation
from eqff.export.export import export_model, require_agreement
from eqff.export.exported import ExportedPotential
from eqff.export.package import FORMAT, About, processor, read_package
from eqff.export.program import DerivativeFunction, EnergyFunction, signature
from eqff.export.samples import disordered, sample
from eqff.export.split import split
from eqff.interfaces.calculator_energy import CalculatorEnergy
from eqff.interfaces.calculators import named_calculator
from eqff.kernels.choice import kernels

SMALL = ("model.backbone.channels=4", "model.backbone.radial_hidden=4", "model.terms.local.hidden=4")
CONTEXT = ModelContext((1, 6, 8), {1: -13.6, 6: -1030.0, 8: -2042.0}, mean_neighbours=10.0)


@functools.cache  # composing takes longer than building
def _composed(overrides):
    with initialize_config_dir(str(config_directory()), version_base="1.3"):
        cfg = compose("train", overrides=["data.path=none", *overrides])
    return OmegaConf.to_container(cfg, resolve=False)["model"]


def configured(*overrides):
    return copy.deepcopy(_composed(overrides))


def built(*overrides, dtype=torch.float64):
    torch.manual_seed(0)
    return build_potential(configured(*overrides), CONTEXT, dtype).eval()


def not_compiled(potential, beside=None):
    """An exported model whose code is the Python that would be compiled."""
    parts = split(potential, beside)
    names = signature(parts.compiled, parts.handed, sample(parts.compiled))
    derivatives, energy = DerivativeFunction(parts.compiled, names), EnergyFunction(parts.compiled, names)
    code = (lambda tensors: derivatives(*tensors)), (lambda tensors: energy(*tensors)) if names.handed else None
    return ExportedPotential(potential, names, *code, beside)


def water(pbc=True):
    generator = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), -1).reshape(-1, 3) * 3.1
    atoms = Atoms(cell=[6.2, 6.2, 6.3], pbc=pbc)
    for place in grid:
        one = molecule("H2O")
        one.rotate(generator.uniform(0, 360), generator.normal(size=3))
        one.translate(place)
        atoms += one
    return atoms


STRUCTURES = {
    "molecule": (molecule("CH3CH2OH"), 0, 1),
    "cation": (molecule("CH3CHO"), 1, 2),
    "anion": (molecule("CH3CH2OH"), -1, 2),
    "pair": (Atoms("OO", [[0, 0, 0], [0, 0, 1.3]]), 0, 3),
    "far apart": (Atoms("OO", [[0, 0, 0], [0, 0, 30.0]]), 0, 3),
    "atom": (Atoms("O"), 0, 3),
    "periodic": (water(), 0, 1),
    "slab": (water((True, True, False)), 0, 1),
}


def results(potential, name, **settings):
    atoms, charge, multiplicity = STRUCTURES[name]
    stress = {"with_stress": True}
    atoms = atoms.copy()
    atoms.calc = potential.calculator(total_charge=charge, multiplicity=multiplicity, **stress, **settings)
    atoms.get_potential_energy()
    return atoms.calc.results


def require_equal(found, expected, tolerance):
    assert set(found) == set(expected)
    for term, energy in expected["energies_per_term"].items():
        assert found["energies_per_term"][term] == pytest.approx(energy, rel=tolerance, abs=tolerance)
    for name, value in expected.items():
        if name != "energies_per_term":
            size = max(1.0, np.abs(value).max())
            np.testing.assert_allclose(found[name], value, rtol=0, atol=tolerance * size, err_msg=name)


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("model", ["short_range", "flagship"])
def test_functions_equal_the_model(model, name):
    potential = built(f"model={model}", *SMALL, "model.backbone.charge_and_spin=true")
    require_equal(results(not_compiled(potential), name), results(potential, name), 1e-11)


@pytest.mark.parametrize("model", ["short_range", "flagship"])
def test_a_file_is_compared_before_it_stays(model):
    potential = built(f"model={model}", *SMALL)
    require_agreement(not_compiled(potential), potential)
    single = built(f"model={model}", *SMALL, dtype=torch.float32)
    require_agreement(not_compiled(single), single)
    single.terms["local"].reference.values.add_(0.01)
    with pytest.raises(ModelError, match="other (atom_)?energy"):
        require_agreement(not_compiled(single), built(f"model={model}", *SMALL, dtype=torch.float32))
    with torch.no_grad():
        potential.terms["local"].linear.weight.mul_(1.01)
    with pytest.raises(ModelError, match="compiles this model wrongly"):
        require_agreement(not_compiled(potential), built(f"model={model}", *SMALL))


@pytest.mark.parametrize("agrees", [True, False])
def test_a_file_that_is_there_stays_if_the_new_one_is_wrong(agrees, tmp_path, monkeypatch):
    overrides, output = ("model=short_range", *SMALL), tmp_path / "model.pt2"
    potential, other = built(*overrides), built(*overrides, "model.backbone.num_passes=1")
    save_model(tmp_path / "m.safetensors", potential, model_config=configured(*overrides), context=CONTEXT)
    output.write_bytes(b"old")
    monkeypatch.setattr(export, "compile_functions", lambda *_: Compilation({}, ()))
    monkeypatch.setattr(export, "write_package", lambda path, *_: path.write_bytes(b"new"))
    monkeypatch.setattr(export, "exported_from", lambda *_: not_compiled(potential if agrees else other))
    with contextlib.nullcontext() if agrees else pytest.raises(ModelError, match="compiles this model wrongly"):
        export_model(tmp_path / "m.safetensors", output)
    assert output.read_bytes() == (b"new" if agrees else b"old")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.safetensors", "model.pt2"]


def test_long_range_runs_beside_and_the_rest_is_compiled():
    potential = built("model=flagship", *SMALL)
    parts = split(potential)
    assert parts.places == ("terms.coulomb",)
    assert parts.handed == ("charges",)
    assert set(parts.compiled.terms) == {"local", "zbl"}
    assert split(built("model=short_range", *SMALL)).whole


def test_added_terms_run_beside():
    potential = built("model=short_range", *SMALL)
    term = built("model=flagship", *SMALL).terms["zbl"]
    doubled = not_compiled(potential).added({"again": term})
    assert doubled.beside == ("terms.again",)
    tripled = doubled.added({"once more": term})
    assert tripled.beside == ("terms.again", "terms.once more")
    energies = results(tripled, "molecule")["energies_per_term"]
    assert energies["zbl"] == pytest.approx(energies["again"], rel=1e-12) and energies["once more"] == energies["again"]
    assert results(tripled, "molecule")["energy"] == pytest.approx(sum(energies.values()), rel=1e-12)


def test_sums_of_energies_follow_what_they_are_sums_of():
    """Of a term that runs beside and of one that is compiled; of compiled ones alone, compiled too."""
    head = "+head@model.heads.{0}=energy_components", "~model.heads.{0}.sums", "+model.heads.{0}.sums={{{1}}}"
    lines = [line.format("sums", "sapt_elst:[coulomb,local]") for line in head]
    potential = built("model=flagship", *SMALL, *lines)
    exported = not_compiled(potential)
    assert set(exported.beside) == {"terms.coulomb", "heads.sums"}
    require_equal(results(exported, "molecule"), results(potential, "molecule"), 1e-11)
    assert results(exported, "molecule")["sapt_elst"] != 0
    lines = [line.format("sums", "sapt_elst:[zbl,local]") for line in head]
    assert not_compiled(built("model=flagship", *SMALL, *lines)).beside == ("terms.coulomb",)


GEOMETRY_ALONE = ("+term@{place}.d3=d3_bj", "{place}.d3.functional=pbe", "{place}.d3.cutoff=9.0")


@pytest.mark.parametrize("name", ["molecule", "atom", "periodic"])
@pytest.mark.parametrize("place", ["terms", "corrections"])
def test_what_runs_beside_may_read_the_geometry_alone(place, name, tmp_path):
    overrides = ("model=short_range", *SMALL, *(each.format(place=f"model.{place}") for each in GEOMETRY_ALONE))
    file = tmp_path / "m.safetensors"
    save_model(file, built(*overrides), model_config=configured(*overrides), context=CONTEXT)
    potential = eqff.load(file)
    exported = not_compiled(potential)
    assert exported.names.handed == () and exported.compiled_energy is None
    found = results(exported, name)
    assert set(found["energies_per_term"]) == {"local", "zbl", "d3"}
    require_equal(found, results(potential, name), 1e-11)
    require_equal(results(corrected(corrected(exported)), name), found, 1e-11)


RATIOS = (
    "+head@model.heads.ratios=volume_ratios",
    "+term@model.corrections.ts=tkatchenko_scheffler",
    "model.corrections.ts.volume_ratios=volume_ratios",
)


def test_corrections_may_read_what_is_compiled(tmp_path):
    """The code hands it on to them, and is held against the model before they are added."""
    overrides, file = ("model=short_range", *SMALL, *RATIOS), tmp_path / "m.safetensors"
    save_model(file, built(*overrides), model_config=configured(*overrides), context=CONTEXT)
    potential = eqff.load(file)
    made = not_compiled(potential, lacking_corrections(potential))
    exported = ExportedPotential(potential, made.names, made.derivatives, made.compiled_energy)
    assert exported.names.handed == ("volume_ratios",) and exported.beside == ()
    require_agreement(exported, potential)
    for name in ("molecule", "periodic"):
        found = results(exported, name)
        assert found["energies_per_term"]["ts"] < 0
        require_equal(found, results(potential, name), 1e-11)


def test_what_runs_beside_is_asked_for_stress_only_where_it_is_wanted():
    class WithoutStress(Calculator):
        implemented_properties = ["energy", "forces"]

        def calculate(self, atoms=None, properties=("energy",), system_changes=()):
            super().calculate(atoms, properties, system_changes)
            self.results = {"energy": 1.5, "forces": np.ones((len(atoms), 3))}

    exported = not_compiled(built("model=short_range", *SMALL))
    whole = exported.added({"base": CalculatorEnergy(named_calculator(WithoutStress()))})
    atoms = water()
    atoms.calc = whole.calculator(total_charge=0, multiplicity=1)
    atoms.get_forces()
    with pytest.raises(ModelError, match="gives no stress"):
        atoms.get_stress()


def test_forces_of_what_runs_beside_are_not_left_out_in_inference_mode():
    potential = built("model=flagship", *SMALL)
    made, graph = not_compiled(potential), disordered(potential, 11, np.random.default_rng(0))
    derivatives = lambda tensors: (torch.zeros_like(tensors[1]), torch.zeros(1, 3, 3))  # noqa: E731
    exported = ExportedPotential(potential, made.names, derivatives, made.compiled_energy)
    assert exported(graph)["forces"].any()
    with torch.inference_mode(), pytest.raises(ModelError, match="no_grad"):
        exported(graph)


def test_predictions_one_by_one_have_what_batches_have():
    potential = built("model=flagship", *SMALL)
    exported = not_compiled(potential)
    frames = [from_atoms(molecule(name), total_charge=0, multiplicity=1, labels=()) for name in ("H2O", "CH3OH")]
    assert set(exported.per_pass) == {"pass_charges", "pass_spin_charges"}
    for found, expected in zip(
        predict(exported, frames, labels=potential.predicts, batch_size=1),
        predict(potential, frames, labels=potential.predicts, batch_size=2),
        strict=True,
    ):
        for kind in ("labels", "passes"):
            numbers, others = getattr(found, kind), getattr(expected, kind)
            assert numbers.keys() == others.keys()
            for name, value in numbers.items():
                np.testing.assert_allclose(value, others[name], rtol=0, atol=1e-9, err_msg=name)


def test_refusals_of_the_model_hold():
    exported = not_compiled(built("model=short_range", *SMALL))
    with pytest.raises(ModelError, match="does not know"):
        exported.calculator(total_charge=0, multiplicity=1).get_potential_energy(molecule("NH3"))
    one = exported.calculator(total_charge=0, multiplicity=1)
    assert np.isfinite(one.get_potential_energy(molecule("H2O")))
    with pytest.raises(ModelError, match="does not know"):
        one.get_potential_energy(molecule("NH3"))
    with pytest.raises(DataError, match="total charge is nowhere given"):
        exported.calculator().get_potential_energy(molecule("H2O"))
    with pytest.raises(ModelError, match="follows from the external field"):
        calculator = exported.calculator(total_charge=0, multiplicity=1, electric_field=(0, 0, 0.1))
        calculator.get_potential_energy(molecule("H2O"))


def test_no_training_and_no_other_precision():
    exported = not_compiled(built("model=short_range", *SMALL))
    graph = sample(exported)
    with pytest.raises(ModelError, match="can't be trained"):
        exported(graph, create_graph=True)
    with pytest.raises(ModelError, match="was exported for"):
        exported(replace(graph, positions=graph.positions.float()))
    before = exported(graph)["energy"]
    for move in (lambda: exported.to(torch.float32), lambda: exported.calculator(dtype=torch.float32)):
        with pytest.raises(ModelError, match="was exported for torch.float64 on the CPU, not for torch.float32"):
            move()
    assert exported.to(torch.float64) is exported
    assert torch.equal(exported(graph)["energy"], before)  # whoever has it goes on


def test_output_has_a_suffix(tmp_path):
    with pytest.raises(ConfigError, match=".pt2"):
        export_model("model.safetensors", tmp_path / "model.safetensors")


def fake(path, **changes):
    """A file like an exported model's, with code that is none."""
    model = b"weights"
    about = About(
        dtype="float32",
        lists=("local",),
        handed=(),
        fields=("energy_local",),
        beside=(),
        operations=(),
        torch=torch.__version__,
        processor=processor(),
        model_digest=hashlib.sha256(model).hexdigest(),
        seconds=1.0,
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data/code.so", b"no code")
        archive.writestr("m/extra/eqff.json", json.dumps(asdict(about) | changes))
        archive.writestr("m/extra/model.safetensors.base64", base64.b64encode(model))
    return path


def test_code_runs_only_if_trusted(tmp_path):
    path = fake(tmp_path / "model.pt2")
    with pytest.raises(ModelError, match="machine code.*trust_code=True"):
        eqff.load(path)


@pytest.mark.parametrize("command", ["evaluate", "simulate", "spectrum", "uncertainty"])
def test_commands_can_be_told_to_trust(command):
    with initialize_config_dir(str(config_directory() / "commands"), version_base="1.3"):
        assert compose(command).trust_code is False
        assert compose(command, overrides=["trust_code=true"]).trust_code is True


@pytest.mark.parametrize("asked", [{"dtype": torch.float64}, {"device": "cuda"}])
def test_other_devices_and_precisions_are_refused(tmp_path, asked):
    with pytest.raises(ModelError, match="compiled for float32 on the CPU, not for float(64 on cpu|32 on cuda): give"):
        eqff.load(fake(tmp_path / "model.pt2"), trust_code=True, **asked)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"torch": "1.0"}, "compiled by torch 1.0"),
        ({"processor": [*processor(), "avx9000"]}, "processor with avx9000"),
        ({"processor": [*processor(), "lrcpc", "movbe"]}, "processor with (lrcpc|movbe)"),
        ({"model_digest": "0"}, "damaged"),
        ({"format": FORMAT + 1}, "format"),
        ({"unknown": 1}, "damaged"),
        ({"processor": 5}, "says of its processor makes no sense"),
        ({"lists": [1]}, "says of its lists makes no sense"),
        ({"dtype": ["float32"]}, "says of its dtype makes no sense"),
    ],
)
def test_files_for_other_machines_and_damaged_ones(tmp_path, changes, message):
    with pytest.raises(ModelFileError, match=message):
        read_package(fake(tmp_path / "model.pt2", **changes))


def test_damaged_code_is_not_run(tmp_path):
    path = fake(tmp_path / "model.pt2")
    path.write_bytes(path.read_bytes().replace(b"no code", b"mo code"))
    with pytest.raises(ModelFileError, match="code.so in it is not what was written"):
        eqff.load(path, trust_code=True)


def test_no_model_file(tmp_path):
    with pytest.raises(ModelFileError, match="compiled ahead of time: it can be used as it is"):
        load_model(fake(tmp_path / "model.pt2"))


def test_no_exported_model(tmp_path):
    (tmp_path / "model.pt2").write_text("no archive")
    with pytest.raises(ModelFileError, match="exported"):
        read_package(tmp_path / "model.pt2")
    with pytest.raises(ModelFileError, match="no exported model"):
        read_package(tmp_path / "none.pt2")


# four channels are too few for code of their own; sixteen have it
WIDER = ("model.backbone.channels=16", "model.backbone.hidden_degree=2")
COMPILED = {
    "short_range": ("model=short_range", *SMALL),
    "flagship": ("model=flagship", *SMALL),
    "linked": ("model=short_range", *SMALL, *WIDER),
    "symmetric": ("model=short_range", *SMALL, *WIDER, "model.backbone.products=symmetric"),
}


@pytest.fixture
def threads():
    """Sets how many threads PyTorch takes, for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "count"), [*((name, 1) for name in COMPILED), ("flagship", 2), ("linked", 2)])
def test_compiled_code_equals_the_model(tmp_path, model, count, threads):
    overrides = (*COMPILED[model], "model.backbone.charge_and_spin=true")
    file = tmp_path / "model.safetensors"
    save_model(file, built(*overrides, dtype=torch.float32), model_config=configured(*overrides), context=CONTEXT)
    threads(count)
    export_model(file, tmp_path / "model.pt2")
    exported, plain = eqff.load(tmp_path / "model.pt2", trust_code=True), eqff.load(file)
    for name in STRUCTURES:
        require_equal(results(exported, name), results(plain, name), 2e-5)  # float32, other orders of summation


@pytest.mark.slow
def test_linked_code_needs_no_operations_where_it_is_loaded(tmp_path):
    overrides = COMPILED["symmetric"]
    file = tmp_path / "model.safetensors"
    save_model(file, built(*overrides, dtype=torch.float32), model_config=configured(*overrides), context=CONTEXT)
    export_model(file, tmp_path / "model.pt2")
    assert read_package(tmp_path / "model.pt2")[0].operations == ()
    with kernels("plain"):
        exported, plain = eqff.load(tmp_path / "model.pt2", trust_code=True), eqff.load(file)
        require_equal(results(exported, "molecule"), results(plain, "molecule"), 2e-5)
