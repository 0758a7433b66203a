"""Every model config that users can choose: built as training does, on structures of every kind, forwards and back."""

from __future__ import annotations

import hydra
import pytest
import torch
from omegaconf import OmegaConf

from eqff.build import ModelContext, build_potential
from eqff.config import config_directory
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, divided, molecule, slab

NAMES = sorted(file.stem for file in (config_directory() / "model").glob("*.yaml"))
WANNIER = [
    "++model.heads.centroids.ion_charges={H: 1, C: 4, N: 5, O: 6}",
    "++model.heads.centroids.centroid_charges={C: -4, N: -5, O: -7}",
    "model.heads.centroids.require_total=false",
]
GIVEN = {
    "formal_charges": [
        "++model.heads.charges.charges={H: 0.2, C: -0.1, N: 0.1, O: -0.4}",
        "model.heads.charges.require_total=false",
    ],
    "ap_net": ["model.backbone.degree=2"],
    "dplr": WANNIER,
    # anisotropic polarizabilities and quadrupoles are read from features of l = 2
    "full_stack": ["model.backbone.degree=2"],
    "polarizable": ["model.backbone.degree=2"],
    "scfnn": ["model.backbone.degree=2", *WANNIER],
}
SMALL = ["model.backbone.channels=4", "model.backbone.num_passes=2"]
EQUIVARIANT = [*SMALL, "model.backbone.degree=1", "model.backbone.hidden_degree=1", "model.backbone.order=2"]
ELEMENTS = (1, 6, 7, 8)
OF_FRAGMENTS = ("ap_net",)  # these take open structures that state their fragments


def build(name: str, *overrides: str):
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
        cfg = hydra.compose("train", [f"model={name}", "data.path=none", *overrides, *GIVEN.get(name, ())])
    torch.manual_seed(0)
    model = OmegaConf.to_container(cfg.model, resolve=True)
    return build_potential(model, ModelContext(ELEMENTS, dict.fromkeys(ELEMENTS, -1.0)), torch.float64)


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_trained(name: str):
    """A loss of energies, forces and charges reaches every parameter with a finite gradient."""
    potential = build(name, *(SMALL if name == "minimal" else EQUIVARIANT)).train()
    structures = [molecule(1, 6), molecule(2, 5, total_charge=-1), molecule(3, 1, total_charge=1), slab(4), crystal(5)]
    if name in OF_FRAGMENTS:
        structures = [divided(atoms) for atoms in structures if not atoms.pbc.any()]
    prediction = potential(graph_of(structures, potential.neighbour_lists, torch.float64), stress=True)
    loss = prediction["energy"].square().mean() + prediction["forces"].square().mean()
    loss = loss + sum(prediction[field].square().mean() for field in ("charges", "spin_charges") if field in prediction)
    loss.backward()
    for label, parameter in potential.named_parameters():
        assert parameter.grad is not None, f"{label} is not part of anything"
        assert bool(torch.isfinite(parameter.grad).all()), label


@pytest.mark.parametrize("backbone", ["painn", "schnet"])
@pytest.mark.parametrize("name", ["hdnnp_4g", "acks2", "les"])
def test_it_stands_on_any_backbone(name: str, backbone: str):
    potential = build(name, f"model/backbone={backbone}", *SMALL).train()
    prediction = potential(graph_of([molecule(1, 6)], potential.neighbour_lists, torch.float64))
    prediction["forces"].square().sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in potential.parameters() if p.grad is not None)


def test_local_energies_of_the_fourth_generation_follow_the_charges():
    """The same neutral molecule, charged: its environments see nothing of that, its local energy does."""
    potential = build("hdnnp_4g", *EQUIVARIANT).eval()
    neutral = molecule(1, 6)
    charged = neutral.copy()
    charged.info.update(total_charge=2, multiplicity=neutral.info["multiplicity"])
    energies = potential(graph_of([neutral, charged], potential.neighbour_lists, torch.float64))["energy_local"]
    assert abs(float(energies[0] - energies[1])) > 1e-4
