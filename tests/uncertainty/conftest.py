"""Small random models, and their files."""

from dataclasses import replace

import pytest
import torch

from eqff.build import ModelContext, build_potential
from eqff.checkpoints import save_model

CONFIG = {
    "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 2, "cutoff": 3.0},
    "heads": {"charges": {"_target_": "eqff.heads.charges.Charges", "hidden": 4}},
    "terms": {
        "local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 6},
        "zbl": {"_target_": "eqff.terms.zbl.ZBLRepulsion", "inner": 1.0, "outer": 2.5},
    },
}
CONTEXT = ModelContext((1, 6, 7, 8), {1: -13.6, 6: -1030.0, 7: -1486.0, 8: -2042.0}, level_of_theory="wB97M-V")


@pytest.fixture(scope="session")
def make_potential():
    """From a seed to a random model."""

    def make(seed, dtype=torch.float64):
        torch.manual_seed(seed)
        return build_potential(CONFIG, CONTEXT, dtype).eval()

    return make


@pytest.fixture(scope="session")
def save(make_potential, tmp_path_factory):
    """Writes a model file: a seed, changes of what it took from its data, and what is said about its training."""

    def save(seed, training=None, **changes):
        context = replace(CONTEXT, **changes)
        torch.manual_seed(seed)
        potential = build_potential(CONFIG, context, torch.float64)
        path = tmp_path_factory.mktemp(f"model{seed}") / "model.safetensors"
        return save_model(path, potential, model_config=CONFIG, context=context, metadata=training)

    return save
