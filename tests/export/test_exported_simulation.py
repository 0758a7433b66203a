"""Simulations with exported models: the same trajectory, and trust is asked for each time."""

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.io import write
from hydra import compose, initialize_config_dir

import eqff
from eqff.build import ModelContext, build_potential
from eqff.checkpoints import save_model
from eqff.config import config_directory
from eqff.errors import ModelError
from eqff.export.export import export_model
from eqff.export.exported import ExportedPotential
from eqff.export.program import DerivativeFunction, signature
from eqff.export.samples import sample
from eqff.export.split import split
from eqff.simulate import simulate
from eqff.simulation import SimulationSettings, run_simulation

CONFIG = {
    "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 1, "cutoff": 3.0},
    "terms": {
        "local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4},
        "zbl": {"_target_": "eqff.terms.zbl.ZBLRepulsion", "inner": 1.0, "outer": 2.5},
    },
}
CONTEXT = ModelContext((1, 6, 8), {1: -13.6, 6: -1030.0, 8: -2042.0})
STEPS = 12


@pytest.fixture
def potential():
    torch.manual_seed(0)
    return build_potential(CONFIG, CONTEXT, torch.float64).eval()


@pytest.fixture
def start(tmp_path):
    write(tmp_path / "start.xyz", molecule("CH3CH2OH"))
    return tmp_path / "start.xyz"


def settings(start):
    state = {"total_charge": 0, "multiplicity": 1, "temperature": 300.0, "seed": 1}
    # weights are random: whatever forces they give, the run goes on
    limits = {"max_force": 1e5, "max_temperature": 1e7, "max_atom_energy": 1e5, "min_distance": 0.0}
    state |= {"ensemble": "nve", "steps": STEPS, "timestep": 0.1, "log_every": 1}
    return {"structure": str(start), **state, **limits}


def trajectory(folder):
    return np.loadtxt(folder / "log.csv", delimiter=",", skiprows=1)


def test_the_same_trajectory(potential, start, tmp_path):
    parts = split(potential)
    names = signature(parts.compiled, parts.handed, sample(parts.compiled))
    derivatives = DerivativeFunction(parts.compiled, names)  # the Python that would be compiled
    exported = ExportedPotential(potential, names, lambda tensors: derivatives(*tensors), None)
    chosen = SimulationSettings(**settings(start))
    for name, model in {"plain": potential, "exported": exported}.items():
        run_simulation(model, molecule("CH3CH2OH"), chosen, tmp_path / name)
    plain, found = trajectory(tmp_path / "plain"), trajectory(tmp_path / "exported")
    assert plain.shape[0] == STEPS + 1 and np.ptp(plain[:, 3]) > 1e-4  # something moves
    np.testing.assert_allclose(found, plain, rtol=0, atol=2e-9)  # the log's own digits


def command(start, model, output, **others):
    values = settings(start) | {"model": model, "output": output} | others
    with initialize_config_dir(str(config_directory() / "commands"), version_base="1.3"):
        return compose("simulate", overrides=[f"{name}={value}" for name, value in values.items()])


@pytest.mark.slow
def test_the_command_with_a_file(potential, start, tmp_path):
    model, file = tmp_path / "model.safetensors", tmp_path / "model.pt2"
    save_model(model, potential, model_config=CONFIG, context=CONTEXT)
    export_model(model, file)
    with pytest.raises(ModelError, match="trust_code=true"):
        simulate(command(start, file, tmp_path / "refused"))
    assert not (tmp_path / "refused" / "log.csv").exists()
    simulate(command(start, file, tmp_path / "exported", trust_code="true"))
    simulate(command(start, model, tmp_path / "plain"))
    np.testing.assert_allclose(trajectory(tmp_path / "exported"), trajectory(tmp_path / "plain"), rtol=0, atol=2e-9)
    with pytest.raises(ModelError, match="trust_code=true"):
        simulate(command(start, file, tmp_path / "x", resume=tmp_path / "exported"))
    assert isinstance(eqff.load(file, trust_code=True), ExportedPotential)
