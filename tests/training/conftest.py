"""Small data and configs for trainings that last a second."""

import hydra
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from eqff.config import config_directory
from eqff.training.quiet import quiet_libraries


def water_frames(count, seed=0, forces=True):
    """Water molecules around their minimum in a harmonic well: cheap, exact and learnable labels."""
    rng = np.random.default_rng(seed)
    rest = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    frames = []
    for _ in range(count):
        positions = rest + rng.normal(scale=0.08, size=rest.shape)
        atoms = Atoms("OHH", positions=positions, info={"total_charge": 0, "multiplicity": 1})
        energy, gradient = spring_energy(positions)
        results = {"energy": energy} | ({"forces": -gradient} if forces else {})
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    return frames


def spring_energy(positions, stiffness=20.0):
    """Energy and gradient of springs between all atoms of a water molecule."""
    energy, gradient = -2000.0, np.zeros_like(positions)
    for i, j, length in ((0, 1, 0.96), (0, 2, 0.96), (1, 2, 1.52)):
        vector = positions[j] - positions[i]
        distance = np.linalg.norm(vector)
        energy += 0.5 * stiffness * (distance - length) ** 2
        pull = stiffness * (distance - length) * vector / distance
        gradient[j] += pull
        gradient[i] -= pull
    return energy, gradient


@pytest.fixture(autouse=True)
def quiet():
    quiet_libraries()


@pytest.fixture(scope="session")
def water_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "water.extxyz"
    write(path, water_frames(24))
    return path


@pytest.fixture
def compose(water_file, tmp_path):
    """Composes the training config for the water file with overrides, as the command line does."""

    def composed(*overrides, output="run"):
        own = [
            f"data.path={water_file}",
            "model=minimal",
            "model.backbone.channels=4",
            "tracking=none",
            "trainer.max_epochs=2",
            "trainer.log_every_n_steps=2",
            "trainer.enable_progress_bar=false",
            "figures=false",
            "trainer.accelerator=cpu",
            "data.split.val=4",
            "data.batch_size=4",
            f"output={tmp_path / output}",
        ]
        with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
            return hydra.compose("train", overrides=[*own, *overrides])

    return composed
