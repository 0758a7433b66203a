"""A small random model, a pool of shaken molecules, and trainings that only pretend."""

import json

import numpy as np
import pytest
import torch

from eqff.build import ModelContext, build_potential
from eqff.checkpoints import save_model
from eqff.data.atoms import from_atoms
from eqff.evaluation.predictions import predict
from eqff.sweeps.planning import remembered
from eqff.testing.structures import molecule

CONFIG = {
    "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 2, "cutoff": 3.0},
    "terms": {"local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 6}},
}
CONTEXT = ModelContext((1, 6, 7, 8), {1: -13.6, 6: -1030.0, 7: -1486.0, 8: -2042.0})


def build(seed):
    torch.manual_seed(seed)
    return build_potential(CONFIG, CONTEXT, torch.float64).eval()


@pytest.fixture(scope="session")
def make_potential():
    """From a seed to a random model."""
    return build


@pytest.fixture(scope="session")
def shaken():
    """From a molecule's seed and a size in Å to displaced copies of it, labelled by a random model."""

    def make(seed, count, size=0.03, labels=True):
        rng, atoms, frames = np.random.default_rng([seed, count]), molecule(seed, 5), []
        for _ in range(count):
            moved = atoms.copy()
            moved.positions += size * rng.normal(size=moved.positions.shape)
            frames.append(from_atoms(moved))
        if labels:
            for frame, prediction in zip(frames, predict(build(9), frames), strict=True):
                frame.energy = torch.tensor(prediction.labels["energy"]).reshape(1)
                frame.forces = torch.tensor(prediction.labels["forces"])
        return frames

    return make


@pytest.fixture
def pretended(monkeypatch):
    """Trainings that write a random model at once; the settings that they would have been run with."""
    commands = []

    def run_jobs(jobs, launch, place):
        for job in jobs:
            run = remembered(place, job.name)
            commands.append(list(run.overrides))
            values = dict(word.partition("=")[::2] for word in run.overrides)
            folder = run.folder
            folder.mkdir()
            (folder / "result.json").write_text(
                json.dumps({"interrupted": False, "metrics": {"val/forces_mae": 1.0 / len(commands)}})
            )
            potential = build(int(values["seed"]))
            save_model(folder / "model.safetensors", potential, model_config=CONFIG, context=CONTEXT)

    monkeypatch.setattr("eqff.active.training.run_jobs", run_jobs)
    return commands
