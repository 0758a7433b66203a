"""A small model and a small crystal for simulations."""

import pytest
import torch
from ase.optimize import LBFGS

from eqff.build import ModelContext, build_potential
from eqff.checkpoints import save_model
from eqff.testing.structures import crystal

CONFIG = {
    "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 1, "cutoff": 3.0},
    "terms": {
        "local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4},
        "zbl": {"_target_": "eqff.terms.zbl.ZBLRepulsion", "inner": 1.0, "outer": 2.5},
    },
}
CONTEXT = ModelContext((1, 6, 7, 8), {1: -13.6, 6: -1030.0, 7: -1486.0, 8: -2042.0})


@pytest.fixture(scope="session")
def make_potential():
    """From a seed to a random model with repulsion."""

    def make(seed):
        torch.manual_seed(seed)
        return build_potential(CONFIG, CONTEXT, torch.float64)

    return make


@pytest.fixture(scope="session")
def potential(make_potential):
    """One of them."""
    return make_potential(0)


@pytest.fixture(scope="session")
def save(potential):
    """Writes its model file, with what is said about its training."""

    def save(path, **training):
        return save_model(path, potential, model_config=CONFIG, context=CONTEXT, metadata=training)

    return save


@pytest.fixture(scope="session")
def relaxed(potential):
    """A crystal near a minimum, so that runs are about vibrations."""
    atoms = crystal(1)
    result = atoms.copy()
    result.calc = potential.calculator()
    LBFGS(result, logfile=None).run(fmax=0.05, steps=300)
    atoms.positions = result.positions
    return atoms
