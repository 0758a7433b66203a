"""The commands evaluate and simulate: from files to files, and one clear message where that can't be."""

import json
import subprocess
import sys

import hydra
import pytest
import torch
from ase.io import read, write

from eqff.build import ModelContext, build_potential
from eqff.checkpoints import MODEL_FILE, save_model
from eqff.command_line.run import run_command
from eqff.config import config_directory
from eqff.data.atoms import from_atoms, to_atoms
from eqff.evaluate import _from_command_line as evaluate_task
from eqff.evaluate import evaluate, set_name
from eqff.evaluation.predictions import predict
from eqff.simulate import _from_command_line as simulate_task
from eqff.simulate import simulate_potential
from eqff.testing.structures import molecule

CONFIG = {
    "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 1, "cutoff": 3.0},
    "terms": {"local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4}},
}
CONTEXT = ModelContext((1, 6, 7, 8), {1: -13.6, 6: -1030.0, 7: -1486.0, 8: -2042.0})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with a model, and a file with labels that are off by 0.1 eV."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    potential = build_potential(CONFIG, CONTEXT)
    save_model(folder / MODEL_FILE, potential, model_config=CONFIG, context=CONTEXT)
    frames = [from_atoms(molecule(seed, 5)) for seed in range(4)]
    for frame, prediction in zip(frames, predict(potential, frames), strict=True):
        frame.energy = torch.tensor(prediction.labels["energy"]).reshape(1) - 0.1
        frame.forces = torch.tensor(prediction.labels["forces"])
    write(folder / "data.extxyz", [to_atoms(frame) for frame in frames])
    return folder


def compose(name, *overrides):
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_directory() / "commands")):
        return hydra.compose(name, overrides=list(overrides))


def test_evaluate_writes_its_report(run, tmp_path):
    cfg = compose("evaluate", f"model={run}", f"data.path={run}/data.extxyz", f"output={tmp_path}", "device=cpu")
    evaluation = evaluate(cfg)
    assert evaluation.errors["energy"].mae == pytest.approx(100.0, abs=0.5)
    stored = json.loads((tmp_path / "data.json").read_text())
    assert stored["errors"]["energy"]["bias"] == pytest.approx(100.0, abs=0.5)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"data.json", "data.md", "data_parity.png", "data_errors.png", "data_predictions.extxyz"}


def test_evaluate_in_another_precision_and_with_chosen_labels(run, tmp_path):
    cfg = compose(
        "evaluate",
        f"model={run}/{MODEL_FILE}",
        f"data.path={run}/data.extxyz",
        f"output={tmp_path}",
        "device=cpu",
        "dtype=float64",
        "data.labels=[forces]",
        "name=only",
        "predictions=false",
    )
    assert set(evaluate(cfg).errors) == {"forces"}
    assert (tmp_path / "only.json").exists() and not list(tmp_path.glob("*.extxyz"))


@pytest.mark.parametrize(
    ("path", "name"), [("a/b.extxyz.gz", "b"), ("a/b.extxyz@:20", "b"), (["x/c.h5", "d.h5"], "c"), ("folder", "folder")]
)
def test_set_name(path, name):
    assert set_name({"name": None, "data": {"path": path}}) == name
    assert set_name({"name": "mine", "data": {"path": path}}) == "mine"


def test_simulate_writes_its_files(run, tmp_path, capsys):
    argv = [
        f"model={run}",
        f"structure={run}/data.extxyz@1",
        f"output={tmp_path}",
        "device=cpu",
        "steps=20",
        "ensemble=nve",
        "trajectory_every=10",
        "timestep=0.1",
        "max_force=1e5",
        "max_temperature=1e9",
    ]
    run_command(simulate_task, "simulate", argv, "commands")
    assert len(read(tmp_path / "trajectory.extxyz", index=":")) == 3
    assert "drift meV per atom per ps" in capsys.readouterr().out


def test_simulate_for_training(run, tmp_path):
    import eqff

    outcome = simulate_potential(
        eqff.load(run),
        {"structure": f"{run}/data.extxyz", "steps": 2, "ensemble": "nve", "max_force": 1e5, "max_temperature": 1e9},
        tmp_path,
    )
    assert outcome["completed"] and outcome["steps"] == 2 and (tmp_path / "energy_drift.png").exists()


def test_simulate_that_stops_is_an_error_with_files(run, tmp_path, capsys):
    argv = [f"model={run}", f"structure={run}/data.extxyz", f"output={tmp_path}", "device=cpu", "max_temperature=1"]
    with pytest.raises(SystemExit) as stopped:
        run_command(simulate_task, "simulate", argv, "commands")
    assert stopped.value.code == 1
    assert "Stopped at step 1" in capsys.readouterr().err
    assert (tmp_path / "log.csv").exists()


@pytest.mark.parametrize(
    ("task", "name", "argv", "message"),
    [
        (evaluate_task, "evaluate", ["data.path=x.extxyz"], "model is missing"),
        (evaluate_task, "evaluate", ["model=RUN"], "data.path is missing"),
        (evaluate_task, "evaluate", ["model=/nowhere", "data.path=x"], "There is no model at '/nowhere'"),
        (evaluate_task, "evaluate", ["model=RUN", "data.path=/no/file.extxyz"], "/no/file.extxyz"),
        (evaluate_task, "evaluate", ["model=RUN", "data.path=x", "bach_size=3"], "Did you mean 'batch_size'"),
        (evaluate_task, "evaluate", ["model=RUN", "data.path=x", "dtype=half"], "one of 'float32', 'float64'"),
        (evaluate_task, "evaluate", ["model=RUN", "data.path=x", "device=gpu"], "give auto, cpu, cuda"),
        (simulate_task, "simulate", ["model=RUN", "structure=FILE", "ensemble=nptt"], "Did you mean 'npt'"),
        (simulate_task, "simulate", ["model=RUN", "structure=FILE", "temprature=3"], "Did you mean 'temperature'"),
    ],
)
def test_messages(run, capsys, monkeypatch, tmp_path, task, name, argv, message):
    monkeypatch.chdir(tmp_path)
    argv = [text.replace("RUN", str(run)).replace("FILE", f"{run}/data.extxyz") for text in argv]
    with pytest.raises(SystemExit) as stopped:
        run_command(task, name, argv, "commands")
    shown = capsys.readouterr().err
    assert stopped.value.code == 1 and message in shown and "Traceback" not in shown


@pytest.mark.parametrize("command", ["evaluate", "simulate"])
def test_help_names_its_settings_without_loading_torch(command):
    code = (
        f"import sys; sys.argv=['x', '--help']; from eqff.{command} import main\n"
        "try: main()\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "model=" in done.stdout and "output:" in done.stdout
