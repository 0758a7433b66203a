"""The model configs with exchanges, as users choose them, on every backbone."""

import hydra
import pytest
import torch
from omegaconf import OmegaConf
from states import info, many_states, sums

from eqff.build import ModelContext, build_potential
from eqff.config import config_directory
from eqff.testing.compare import assert_close
from eqff.testing.frames import random_orthogonal
from eqff.testing.graphs import graph_of
from eqff.testing.structures import transformed
from eqff.testing.tolerances import INVARIANCE

MODELS = {
    "aimnet_nse": ["model=aimnet_nse", "training/losses=energy_pass_charges"],
    "spookynet": ["model=spookynet", "training/losses=energy_charges", "+head@model.heads.q=spin_channel_charges"],
    "minimal": ["model=minimal", "+exchange@model.exchanges.nse=neutral_spin_equilibration"],
    "one channel": ["model=charge_embedding", "+exchange@model.exchanges.nqe=neutral_charge_equilibration"],
}
SETUPS = [(name, backbone) for name in ("aimnet_nse", "spookynet") for backbone in ("equivariant", "painn", "schnet")]
SETUPS += [("minimal", None), ("one channel", None)]


def compose(name, backbone):
    overrides = [*MODELS[name], "model.backbone.channels=8", "data.path=none"]
    overrides += [f"model/backbone={backbone}"] if backbone else []
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
        cfg = hydra.compose("train", overrides)
    return OmegaConf.to_container(cfg.model, resolve=True), OmegaConf.to_container(cfg.training.losses, resolve=True)


@pytest.mark.parametrize(("name", "backbone"), SETUPS)
def test_totals_hold_and_energies_are_invariant(name, backbone):
    model, _ = compose(name, backbone)
    elements, structures = (1, 6, 7, 8), many_states()
    torch.manual_seed(0)
    potential = build_potential(model, ModelContext(elements, dict.fromkeys(elements, 0.0)), torch.float64).eval()

    def predict(atoms):
        return potential(graph_of(atoms, potential.neighbour_lists, torch.float64))

    prediction = predict(structures)
    turned = predict([transformed(atoms, random_orthogonal(3, reflect=True)) for atoms in structures])
    assert_close(turned["energy"], prediction["energy"], INVARIANCE[torch.float64], "energy")
    error = sums(prediction["charges"], structures) - info(structures, "total_charge")
    assert float(error.abs().max()) < 1e-12
    if "spin_charges" in prediction:
        error = sums(prediction["spin_charges"], structures) - (info(structures, "multiplicity") - 1)
        assert float(error.abs().max()) < 1e-12


@pytest.mark.parametrize("name", ["aimnet_nse", "spookynet"])
def test_their_losses_fit(name):
    from eqff.training.losses import Losses

    model, losses = compose(name, "schnet")
    potential = build_potential(model, ModelContext((1, 8), {1: 0.0, 8: 0.0}))
    Losses.from_config(losses).check_model(potential.predicts, potential.per_pass)
