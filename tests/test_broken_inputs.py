"""Inputs that can't be right: each gives one message that names what and where, and leaves everything as it was."""

import os
import pickle
from functools import partial

import pytest
import torch
from broken.commands import composed, refuses, run_composed, run_whole, snapshot, with_values
from broken.files import SPRUNG, Trap, write_all
from safetensors.torch import save_file

from eqff.build import ModelContext, build_potential
from eqff.checkpoints import MODEL_FILE, save_model
from eqff.checkpoints.container import read_container, write_container

CONFIG = {
    "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 1, "cutoff": 3.0},
    "terms": {"local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4}},
}
CONTEXT = ModelContext((1, 8), {1: -13.6, 8: -2042.0})
TRAIN = (
    "model=minimal",
    "model.backbone.channels=4",
    "tracking=none",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=1",
    "trainer.enable_progress_bar=false",
    "data.split.val=2",
    "data.batch_size=2",
    "figures=false",
    "output=new_run",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with broken data files, and ``run``: a finished run with its model."""
    folder = write_all(tmp_path_factory.mktemp("broken"))
    run = folder / "run"
    torch.manual_seed(0)
    potential = build_potential(CONFIG, CONTEXT)
    save_model(run / MODEL_FILE, potential, model_config=CONFIG, context=CONTEXT)
    (run / "report.md").write_text("a report\n")
    return folder


@pytest.fixture
def here(place, tmp_path, monkeypatch):
    """An empty working folder; afterwards, nothing among the inputs may have changed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("eqff.packages._ALLOWED_PACKAGES", ["eqff"])  # `packages=` adds to it
    before = snapshot(place)
    yield place
    assert snapshot(place) == before


DATA = [
    ("missing.extxyz", [], r"missing\.extxyz.*(no such|there is no|not exist)"),
    ("nowhere/at/all.extxyz", [], r"nowhere/at/all\.extxyz"),
    ("empty_folder", [], r"empty_folder"),
    ("notes", [], r"notes.*\.extxyz"),
    ("notes.txt", [], r"notes\.txt.*extxyz"),
    ("*.nothing", [], r"\*\.nothing"),
    ("empty.extxyz", [], r"empty\.extxyz.*(empty|no structure|no frame)"),
    ("blank.extxyz", [], r"blank\.extxyz"),
    ("truncated.extxyz", [], r"truncated\.extxyz.*frame 7"),
    ("count.extxyz", [], r"count\.extxyz.*frame 2"),
    ("negative_count.extxyz", [], r"negative_count\.extxyz.*frame [23]"),
    ("too_few_columns.extxyz", [], r"too_few_columns\.extxyz.*frame 2"),
    ("text_for_number.extxyz", [], r"text_for_number\.extxyz.*frame 2"),
    ("no_species.extxyz", [], r"no_species\.extxyz.*frame 0.*element"),
    ("no_energy.extxyz", [], r"energy.*data\.keys"),
    ("no_forces.extxyz", [], r"forces.*other"),
    ("nan_energy.extxyz", [], r"nan_energy\.extxyz.*energy"),
    ("text_energy.extxyz", [], r"text_energy\.extxyz.*frame 2.*energy"),
    ("nan_position.extxyz", [], r"nan_position\.extxyz.*position"),
    ("infinite_position.extxyz", [], r"infinite_position\.extxyz.*position"),
    ("zero_energy.extxyz", [], r"energy.*zero"),
    ("zero_forces.extxyz", [], r"forces.*zero"),
    ("coinciding.extxyz", [], r"coinciding\.extxyz.*frame 2.*(Å|distance)"),
    ("unknown_element.extxyz", [], r"unknown_element\.extxyz.*frame 2.*Xy"),
    ("no_charge.extxyz", [], r"no_charge\.extxyz.*frame 2.*data\.total_charge=NUMBER"),
    ("no_multiplicity.extxyz", [], r"no_multiplicity\.extxyz.*frame 2.*data\.multiplicity=NUMBER"),
    ("doublet.extxyz", [], r"doublet\.extxyz.*frame 2.*multiplicity"),
    ("no_spin.extxyz", [], r"no_spin\.extxyz.*frame 2.*multiplicity"),
    ("half_spin.extxyz", [], r"half_spin\.extxyz.*frame 2.*multiplicity"),
    ("many_unpaired.extxyz", [], r"many_unpaired\.extxyz.*frame 2.*multiplicity"),
    ("half_charge.extxyz", [], r"half_charge\.extxyz.*frame 2.*charge"),
    ("overcharged.extxyz", [], r"overcharged\.extxyz.*frame 2.*(charge|electron)"),
    ("text_charge.extxyz", [], r"text_charge\.extxyz.*frame 2.*total_charge.*neutral"),
    ("two_energies.extxyz", [], r"two_energies\.extxyz.*REF_energy.*energy.*keys="),
    ("flat_cell.extxyz", [], r"flat_cell\.extxyz.*frame 2.*(cell|lattice)"),
    ("no_cell.extxyz", [], r"no_cell\.extxyz.*frame 2.*cell"),
    ("binary.extxyz", [], r"binary\.extxyz"),
    ("not_gzip.extxyz.gz", [], r"not_gzip\.extxyz\.gz"),
    ("cut.extxyz.gz", [], r"cut\.extxyz\.gz"),
    ("text.h5", [], r"text\.h5"),
    ("cut.h5", [], r"cut\.h5"),
    ("nothing.h5", [], r"nothing\.h5"),
    ("no_numbers.h5", [], r"no_numbers\.h5.*atomic numbers"),
    ("good.h5", ["data.total_charge=0", "data.multiplicity=1"], r"good\.h5.*unit.*units="),
    ("short_energies.h5", ["UNITS"], r"short_energies\.h5.*energy"),
    ("wrong_forces.h5", ["UNITS"], r"wrong_forces\.h5.*forces"),
    ("text.npz", [], r"text\.npz"),
    ("cut.npz", [], r"cut\.npz"),
    ("short_energies.npz", ["UNITS"], r"short_energies\.npz.*energy"),
    ("wrong_numbers.npz", ["UNITS"], r"wrong_numbers\.npz"),
    ("no_positions.npz", ["UNITS"], r"no_positions\.npz.*(position|coordinates)"),
    ("objects.npz", ["UNITS"], r"objects\.npz"),
    ("text.db", [], r"text\.db"),
    ("text.traj", [], r"text\.traj"),
    ("good.extxyz@100:", [], r"good\.extxyz"),
    ("good.extxyz@1:2:3:4", [], r"good\.extxyz@1:2:3:4"),
    ("two_frames.extxyz", [], r"2 frames"),
    ("good.extxyz", ["data.val=PLACE/missing.extxyz"], r"missing\.extxyz"),
    ("good.extxyz", ["data.val=PLACE/carbon.extxyz"], r"carbon\.extxyz.*(Z=\[6\]|C )"),
    ("good.extxyz", ["data.test.train=PLACE/good.extxyz"], r"data\.path and data\.val"),
    ("good.extxyz", ["data.test.far=PLACE/nothing_here.extxyz"], r"nothing_here\.extxyz"),
    ("good.extxyz", ["data.split.val=20"], r"8 frames.*20"),
    ("good.extxyz", ["data.split.val=1.5"], r"split\.val.*1\.5"),
    ("good.extxyz", ["data.split.by=group"], r"group.*data\.keys"),
    ("good.extxyz", ["data.split.file=PLACE/split.json"], r"split\.json.*frame 2"),
    ("good.extxyz", ["data.split.file=PLACE/outside.json"], r"outside\.json.*99"),
    ("good.extxyz", ["data.split.file=PLACE/broken.json"], r"broken\.json"),
    ("good.extxyz", ["data.split.file=PLACE/empty.json"], r"empty\.json.*train"),
    ("good.extxyz", ["data.split.file=PLACE/missing.json"], r"missing\.json"),
    ("good.extxyz", ["data.keys.energie=energy"], r"energie"),
    ("good.extxyz", ["data.keys.energy=enrgy"], r"enrgy.*Did you mean 'energy'"),
    ("good.extxyz", ["data.units.energy=kg"], r"energy.*kg|kg.*energy"),
    ("good.extxyz", ["data.units.energi=eV"], r"energi.*energy"),
    ("good.extxyz", ["data.units.forces=kcal/mol"], r"kcal/mol.*forces"),
    ("good.extxyz", ["data.labels=[enrgy]"], r"enrgy.*energy"),
    ("good.extxyz", ["data.require=[energy,forces,dipole]"], r"dipole"),
    ("good.extxyz", ["data.reference_energies=leastsquares"], r"leastsquares.*least_squares"),
    ("good.extxyz", ["data.reference_energies=isolated_atoms"], r"isolated"),
    ("good.extxyz", ["data.reference_energies={H: -13.6}"], r"\bO\b"),
    ("good.extxyz", ["data.reference_energies={Hx: -13.6, O: -2}"], r"Hx"),
    ("good.extxyz", ["data.multiplicity=lowst"], r"data\.multiplicity.*lowst.*Did you mean 'lowest'"),
    ("good.extxyz", ["data.min_distance=3.0"], r"good\.extxyz.*frame 0"),
    ("good.extxyz", ["training/losses=energy_forces_stress"], r"training\.losses\.stress.*stress=null"),
]
UNITS = (
    "data.total_charge=0",
    "data.multiplicity=1",
    "data.units={positions: Ang, energy: eV, forces: eV/Ang}",
)


@pytest.mark.parametrize(("file", "extra", "pattern"), DATA, ids=lambda value: str(value)[:60])
def test_data(here, capsys, file, extra, pattern):
    extra = [part for text in extra for part in (UNITS if text == "UNITS" else [text.replace("PLACE", str(here))])]
    if any("/" in text.split("=")[0] for text in extra):
        run = partial(run_whole, "train", [*TRAIN, f"data.path={here}/{file}", *extra])
    else:
        cfg = with_values(composed("train", TRAIN), [f"data.path='{here}/{file}'", *extra])
        run = partial(run_composed, "train", cfg)
    refuses(capsys, run, pattern)
    assert not os.path.exists(SPRUNG)


def test_the_trap_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Trap())).close()
    assert os.path.exists(SPRUNG)


STRUCTURES = [
    ("missing.extxyz", [], r"missing\.extxyz"),
    ("empty.extxyz", [], r"empty\.extxyz"),
    ("binary.extxyz", [], r"binary\.extxyz"),
    ("notes.txt", [], r"notes\.txt"),
    ("good.extxyz@50", [], r"good\.extxyz@50"),
    ("good.extxyz@:3", [], r"good\.extxyz@:3.*3 frames"),
    ("carbon.extxyz", [], r"\bC \(Z=6\).*H, O"),
    ("coinciding.extxyz@2", [], r"coinciding\.extxyz"),
    ("nan_position.extxyz@2", [], r"nan_position\.extxyz"),
    ("unknown_element.extxyz@2", [], r"Xy"),
    ("no_charge.extxyz@2", [], r"total_charge"),
    ("no_multiplicity.extxyz@2", [], r"multiplicity"),
    ("doublet.extxyz@2", [], r"multiplicity"),
    ("no_cell.extxyz@2", [], r"cell"),
    ("good.extxyz", ["steps=-1"], r"steps is -1"),
    ("good.extxyz", ["steps=many"], r"steps is 'many'.*whole number"),
    ("good.extxyz", ["timestep=0"], r"timestep is 0.*above 0"),
    ("good.extxyz", ["temperature=-300"], r"temperature is -300"),
    ("good.extxyz", ["ensemble=nvx"], r"ensemble is 'nvx'.*Did you mean 'n"),
    ("good.extxyz", ["+thermo=300"], r"thermo is not a setting"),
    ("good.extxyz", ["dtype=float16"], r"dtype is 'float16'.*float32"),
    ("good.extxyz", ["device=gpu"], r"device.*'gpu'.*cpu"),
    ("good.extxyz", ["trajectory=t.pdf"], r"trajectory.*\.extxyz"),
    ("good.extxyz", ["packages=3"], r"packages is 3.*list"),
    ("good.extxyz", ["output=PLACE/notes.txt/new"], r"output.*notes\.txt.*is a file"),
]


@pytest.mark.parametrize(("file", "extra", "pattern"), STRUCTURES, ids=lambda value: str(value)[:60])
def test_structures(here, capsys, file, extra, pattern):
    argv = [f"model={here}/run", f"structure='{here}/{file}'", "output=new", "device=cpu", "steps=1"]
    argv += [text.replace("PLACE", str(here)) for text in extra]
    refuses(capsys, lambda: run_composed("simulate", with_values(composed("simulate", ()), argv)), pattern)


def rewritten(place, name, change=lambda header: None, tensors=lambda weights: weights):
    """A copy of the model file with another header or other tensors, and digests that are right."""
    stored = read_container(place / "run" / MODEL_FILE)
    change(stored.header)
    write_container(name, stored.header, tensors(dict(stored.tensors)))
    return name


def _pickled(place):
    torch.save({"weights": torch.ones(3)}, "model.pt")
    return "model.pt"


def _bytes(content):
    def make(place):
        with open("model.safetensors", "wb") as file:
            file.write(content)
        return "model.safetensors"

    return make


def _cut(place):
    return _bytes((place / "run" / MODEL_FILE).read_bytes()[:-100])(place)


def _plain_tensors(place):
    save_file({"weight": torch.ones(3)}, "plain.safetensors")
    return "plain.safetensors"


def _header(**changes):
    return lambda place: rewritten(place, "changed.safetensors", lambda header: header.update(changes))


def _target(target):
    def change(header):
        header["model_config"]["terms"]["local"]["_target_"] = target

    return lambda place: rewritten(place, "target.safetensors", change)


def _argument(name, value):
    def change(header):
        header["model_config"]["backbone"][name] = value

    return lambda place: rewritten(place, "argument.safetensors", change)


def _weights(change):
    return lambda place: rewritten(place, "weights.safetensors", tensors=change)


def _first(weights, replace):
    name = sorted(key for key in weights if key.endswith("weight"))[0]
    return weights | {name: replace(weights[name])}


MODELS = {
    "missing": (lambda place: "nowhere.safetensors", r"nowhere\.safetensors"),
    "a folder without a model": (lambda place: str(place / "notes"), r"notes.*model\.safetensors"),
    "a pickle": (_pickled, r"model\.pt.*safetensors"),
    "empty": (_bytes(b""), r"model\.safetensors.*cut off"),
    "text": (_bytes(b"this is not a model file at all"), r"no safetensors file"),
    "an absurd header": (_bytes((2**60).to_bytes(8, "little") + b"{}"), r"cut off|header"),
    "cut": (_cut, r"damaged|cut off"),
    "other tensors": (_plain_tensors, r"plain\.safetensors.*no eqff model"),
    "a later format": (_header(format_version=999), r"999"),
    "no format": (_header(format_version="one"), r"changed\.safetensors"),
    "no config": (_header(model_config=None), r"changed\.safetensors"),
    "no elements": (_header(context={}), r"changed\.safetensors"),
    "another class": (_target("os.system"), r"os\.system.*not in an allowed package"),
    "no class": (_target("eqff.terms.local.Nothing"), r"eqff\.terms\.local\.Nothing"),
    "no term": (_target("eqff.heads.charges.Charges"), r"a Term is needed"),
    "another size": (_argument("channels", 8), r"argument\.safetensors.*shape"),
    "a wrong type": (_argument("channels", "many"), r"model\.backbone\.channels is 'many'"),
    "a huge size": (_argument("channels", 10**12), r"argument\.safetensors"),
    "an unknown argument": (_argument("chanels", 8), r"chanels.*Did you mean 'channels'"),
    "a tensor less": (_weights(lambda w: dict(list(w.items())[1:])), r"1 tensors missing"),
    "a tensor more": (_weights(lambda w: w | {"extra": torch.ones(2)}), r"1 unknown|1 tensors unknown"),
    "a wrong shape": (_weights(lambda w: _first(w, lambda t: t[:1].clone())), r"shape"),
    "NaN": (_weights(lambda w: _first(w, lambda t: t * float("nan"))), r"NaN"),
}


@pytest.mark.parametrize("name", MODELS)
def test_models(here, capsys, tmp_path_factory, monkeypatch, name):
    make, pattern = MODELS[name]
    files = tmp_path_factory.mktemp("models")
    with monkeypatch.context() as inside:
        inside.chdir(files)
        path = files / make(here)
    argv = [f"model={path}", f"data.path={here}/good.extxyz", "output=new", "device=cpu"]
    refuses(capsys, lambda: run_composed("evaluate", with_values(composed("evaluate", ()), argv)), pattern)


EVALUATIONS = [
    ([], r"data\.path is missing"),
    (["model=RUN"], r"data\.path is missing"),
    (["data.path=PLACE/good.extxyz"], r"model is missing: give it as model="),
    (["model=RUN", "data.path=PLACE/carbon.extxyz"], r"\bC \(Z=6\)"),
    (["model=RUN", "data.path=PLACE/good.extxyz", "batch_size=0"], r"batch_size is 0.*at least 1"),
    (["model=RUN", "data.path=PLACE/good.extxyz", "+data.labls=[energy]"], r"data\.labls.*Did you mean 'labels'"),
    (["model=RUN", "data.path=PLACE/good.extxyz", "data.labels=[dipole]"], r"dipole"),
    (["model=RUN", "data.path=PLACE/good.extxyz", "data.labels=energy"], r"data\.labels is 'energy'.*list"),
    (["model=RUN", "data.path=PLACE/good.extxyz", "predictions=3"], r"predictions is 3.*true or false"),
    (["model=RUN", "data.path=PLACE/good.extxyz", "output=PLACE/notes.txt"], r"output.*notes\.txt.*is a file"),
    (["model=RUN", "data.path=PLACE/good.extxyz", "name=[a]"], r"name is \['a'\].*text"),
]


@pytest.mark.parametrize(("argv", "pattern"), EVALUATIONS, ids=lambda value: str(value)[-50:])
def test_evaluations(here, capsys, argv, pattern):
    argv = [text.replace("RUN", f"{here}/run").replace("PLACE", str(here)) for text in argv]
    argv = [*argv, "device=cpu"]
    refuses(capsys, lambda: run_composed("evaluate", with_values(composed("evaluate", ()), argv)), pattern)


OVERRIDES = [
    (["~training"], r"training is missing"),
    (["+nonsense=3"], r"nonsense is not a setting"),
    (["+data.foo=3"], r"data\.foo is not a setting"),
    (["data=ion"], r"'data' has no option 'ion'. Did you mean 'ions'"),
    (["data=3"], r"data=3"),
    (["trainer=null"], r"trainer=null"),
    (["model=flagshp"], r"Did you mean 'flagship'"),
    (["+head@model.heads.charges=charge"], r"'head' has no option 'charge'. Did you mean 'charges'"),
    (["+heads@model.heads.charges=charges"], r"heads"),
    (["training/optimizer=adam"], r"Did you mean 'adamw'"),
    (["training.losses=energy"], r"training/losses=energy"),
    (["model.backbone=painn"], r"model/backbone=painn"),
    (["model.heads.charges=charges"], r"\+head@model\.heads\.charges=charges"),
    (["experiment=nothing"], r"'experiment' has no option 'nothing'.*main_job"),
    (["lr=0.1"], r"'lr'.*Did you mean 'training\.optimizer\.lr'"),
    (["training.optimzer.lr=0.1"], r"Did you mean 'training\.optimizer\.lr'"),
    (["~training.emma"], r"Did you mean 'training\.ema'"),
    (["data.path=[a"], r"'data\.path=\[a' can't be read as KEY=VALUE"),
    (["data.keys={a"], r"'data\.keys=\{a' can't be read"),
    (["=3"], r"=3"),
    (["seed"], r"'seed' can't be read as KEY=VALUE"),
    (["seed=1,2"], r"seed=1,2.*--multirun"),
    (["seed=${nothing}"], r"seed.*nothing"),
    (["--nonsense"], r"'--nonsense'.*--help"),
    (["--config-dir", "nowhere"], r"--config-dir.*nowhere"),
    (["--config-name", "trian"], r"trian"),
    (["--config-dir", "PLACE/own_config", "experiment=bad"], r"no YAML.*bad\.yaml"),
    (["+term@model.terms.zbl=zbl", "model.terms.zbl.inner=2"], r"inner < outer"),
    (["+head@model.heads.charges=charges"], r"model\.heads\.charges.*losses\.charges.*~model\.heads\.charges"),
    (
        ["+head@model.heads.dipole=dipole", "training.losses.dipole.weight=1"],
        r"heads\.dipole.*charges.*\+head@model\.heads\.charges=charges",
    ),
    (
        ["+head@model.heads.charges=charges", "model.heads.charges.weights=even", "training.losses.charges.weight=1"],
        r"model\.heads\.charges\.weights is 'even'.*'learned', 'uniform'",
    ),
    (["training.schedule.warmpu=0.1"], r"training\.schedule\.warmpu.*Did you mean 'training\.schedule\.warmup'"),
    (["budget.gpu_seconds=3"], r"budget\.gpu_seconds.*Did you mean 'budget\.cpu_seconds'"),
    (["tracking=wandbb"], r"Did you mean 'wandb'"),
    (["data.split.vall=0.1"], r"data\.split\.vall.*Did you mean 'data\.split\.val'"),
    (["data.keys=[energy]"], r"data\.keys is a section.*data\.keys=\{NAME: VALUE\}"),
]


@pytest.mark.parametrize(("argv", "pattern"), OVERRIDES, ids=lambda value: str(value)[:60])
def test_overrides(here, capsys, argv, pattern):
    argv = [*TRAIN, f"data.path={here}/good.extxyz", *(text.replace("PLACE", str(here)) for text in argv)]
    refuses(capsys, lambda: run_whole("train", argv), pattern)


CONFIGS = [
    (["packages=[no_such_package]"], r"no_such_package"),
    (["dtype=float16"], r"dtype is 'float16'.*'float32', 'float64'"),
    (["seed=abc"], r"seed is 'abc'.*whole number"),
    (["seed=-1"], r"seed is -1.*at least 0"),
    (["data.seed=-1"], r"data\.seed is -1.*at least 0"),
    (["data.split.seed=-1"], r"data\.split\.seed is -1.*at least 0"),
    (["threads=0"], r"threads is 0.*at least 1"),
    (["evaluate=maybe"], r"evaluate is 'maybe'.*true or false"),
    (["model.backbone.channels=abc"], r"model\.backbone\.channels is 'abc'"),
    (["model.backbone.channels=4.5"], r"model\.backbone\.channels is 4\.5"),
    (["model.backbone.channels=-4"], r"model\.backbone\.channels is -4.*at least 1"),
    (["model.backbone.cutoff=0"], r"model\.backbone\.cutoff is 0.*above 0"),
    (["model.backbone.cutof=3"], r"cutof is not a setting.*Did you mean 'cutoff'"),
    (["model.backbone.num_radial=null"], r"num_radial is null"),
    (["~model.backbone._target_"], r"model\.backbone has no '_target_'"),
    (["model.backbone._target_=torch.nn.Linear"], r"torch\.nn\.Linear.*packages=\[torch\]"),
    (["model.backbone._target_=eqff.terms.local.LocalEnergy"], r"a Backbone is needed"),
    (["model.terms.local.hidden=wide"], r"model\.terms\.local\.hidden is 'wide'"),
    (["model.terms.local=3"], r"model\.terms\.local is 3"),
    (["~model.terms.local"], r"at least one energy term"),
    (["+model.term.zbl=3"], r"model\.term.*Did you mean 'terms'"),
    (["training.losses.charges.weight=1"], r"losses\.charges.*\+head@model\.heads\.charges=charges"),
    (["training.losses.enrgy.weight=1"], r"enrgy.*Did you mean 'energy'"),
    (["training.losses.energy=3"], r"training\.losses\.energy is 3.*section"),
    (["training.losses.energy.function=msee"], r"Did you mean 'mse'"),
    (["training.losses.energy.weight=-1"], r"training\.losses\.energy.*negative"),
    (["training.losses.energy.weight=heavy"], r"training\.losses\.energy\.weight is 'heavy'.*number"),
    (["training.losses.energy.wieght=1"], r"training\.losses\.energy\.wieght.*Did you mean 'weight'"),
    (["training.losses.forces.per_atom=true"], r"training\.losses\.forces\.per_atom"),
    (["training.losses.energy=null", "training.losses.forces=null"], r"training\.losses is empty"),
    (["training.optimizer.lr=-1"], r"training\.optimizer.*lr"),
    (["training.optimizer.lr=fast"], r"training\.optimizer\.lr is 'fast'"),
    (["training.optimizer.lr=nan"], r"training\.optimizer\.lr is nan"),
    (["training.optimizer.momentm=0.9"], r"training\.optimizer\.momentm.*Did you mean 'momentum'"),
    (["training.optimizer.name=Adan"], r"Did you mean 'Adam'"),
    (["training.optimizer.betas=0.9"], r"training\.optimizer\.betas is 0\.9.*list of 2"),
    (["training.optimizer.groups.slow={match: 'term.*', lr: 0.1}"], r"term\.\*.*matches no trainable"),
    (["training.optimizer.groups.slow={lr: 0.1}"], r"groups\.slow\.match is missing"),
    (["training.schedule.shape=cosin"], r"Did you mean 'cosine'"),
    (["training.schedule.warmup=5"], r"training\.schedule\.warmup.*between 0 and 1"),
    (["training.ema=1.5"], r"training\.ema is 1\.5.*above 0 and below 1, or null"),
    (["training.keep=bst"], r"training\.keep is 'bst'.*Did you mean 'best'"),
    (["training.validations=0"], r"training\.validations is 0"),
    (["training.early_stopping=1.5"], r"training\.early_stopping is 1\.5"),
    (["training.early_stopping=3", "data.split.val=0"], r"training\.early_stopping needs a validation set"),
    (["training.metrics=dipole"], r"training\.metrics is 'dipole'.*list"),
    (["training.metrics=[dipole]"], r"training\.metrics.*no part that predicts 'dipole'.*\+head@model\.heads\.dipole"),
    (["training.metrics=[virial]"], r"training\.metrics: no validation frame has 'virial'"),
    (["training.monitor=val/force_mae"], r"training\.monitor.*Did you mean 'val/forces_mae'"),
    (["training.compile=3"], r"training\.compile is 3.*true or false"),
    (["trainer.max_epochs=many"], r"trainer\.max_epochs is 'many'.*whole number"),
    (["trainer.max_epochs=-2"], r"trainer\.max_epochs is -2"),
    (["trainer.max_epoch=5"], r"trainer\.max_epoch.*Did you mean 'max_epochs'"),
    (["trainer.max_steps=0"], r"trainer\.max_steps is 0, but must be -1, or a whole number of at least 1"),
    (["trainer.max_time=00:01:00:00"], r"trainer\.max_time: .*budget\.wall_seconds"),
    (["trainer.min_epochs=5"], r"trainer\.min_epochs: .*trainer\.max_epochs"),
    (["trainer.limit_test_batches=5"], r"trainer\.limit_test_batches is not a setting"),
    (["trainer.reload_dataloaders_every_n_epochs=1"], r"reload_dataloaders_every_n_epochs is not a setting"),
    (["trainer.accelerator=gpux"], r"trainer.*gpux"),
    (["trainer.accelerator=tpu"], r"trainer.*torch_xla"),
    (["trainer.devices=none"], r"trainer.*devices"),
    (["trainer.strategy=dpp"], r"trainer.*dpp"),
    (["trainer.gradient_clip_val=-1"], r"trainer\.gradient_clip_val is -1"),
    (["trainer.logger=true"], r"trainer\.logger is not a setting"),
    (["trainer.gradient_clip_algorithm=value"], r"trainer\.gradient_clip_algorithm is not a setting"),
    (["trainer.precision=16-true"], r"trainer\.precision is '16-true'.*only '32-true'"),
    (["trainer.precision=bf16-mixed"], r"trainer\.precision is 'bf16-mixed'.*tf32=true"),
    (["tf32=true", "dtype=float64"], r"tf32=true.*float32"),
    (["budget.cpu_seconds=-1"], r"budget\.cpu_seconds must be positive"),
    (["budget.wall_seconds=long"], r"budget\.wall_seconds is 'long'"),
    (["tracking.mode=ofline"], r"tracking\.mode.*Did you mean 'offline'"),
    (["tracking.tags=a"], r"tracking\.tags is 'a'.*list"),
    (["+tracking.projct=a"], r"tracking\.projct.*Did you mean 'project'"),
    (["data.batch_size=0"], r"data\.batch_size is 0"),
    (["data.batch_size=two"], r"data\.batch_size is 'two'"),
    (["data.num_workers=-1"], r"data\.num_workers is -1"),
    (["data.split.val=few"], r"data\.split\.val is 'few'"),
    (["data.split.by=grup"], r"data\.split\.by is 'grup'.*Did you mean 'group'"),
    (["data.path=3"], r"data\.path is 3.*text"),
    (["simulate={steps: 10}"], r"simulate\.structure is missing"),
    (["simulate={structure: PLACE/good.extxyz, stepps: 10}"], r"simulate\.stepps.*Did you mean 'steps'"),
    (["simulate={structure: PLACE/missing.extxyz}"], r"missing\.extxyz"),
    (["output=PLACE/notes.txt"], r"output.*notes\.txt.*is a file"),
    (["output=PLACE/notes.txt/run"], r"output.*notes\.txt.*is a file"),
]


@pytest.mark.parametrize(("argv", "pattern"), CONFIGS, ids=lambda value: str(value)[:60])
def test_configs(here, capsys, argv, pattern):
    argv = [f"data.path={here}/good.extxyz", *(text.replace("PLACE", str(here)) for text in argv)]
    refuses(capsys, lambda: run_composed("train", with_values(composed("train", TRAIN), argv)), pattern)
