"""What all networks on descriptors promise: locality, charges on top of them, and room for new elements."""

import hydra
import pytest
import torch
from omegaconf import OmegaConf
from test_ani import SMALL as ANI
from test_behler_parrinello import SMALL as BEHLER_PARRINELLO
from test_deep_pot import SMALL as DEEP_POT

from eqff.build import ModelContext, build_potential
from eqff.config import config_directory
from eqff.testing.battery import LOCAL_ENERGY
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, molecule
from eqff.training.finetuning.weights import take_over

BACKBONES = pytest.mark.parametrize(
    "backbone",
    [ANI, BEHLER_PARRINELLO, DEEP_POT, {**DEEP_POT, "networks": "neighbour"}],
    ids=["ani", "behler_parrinello", "deep_pot", "deep_pot_neighbour"],
)


def build(backbone, elements, seed=0):
    torch.manual_seed(seed)
    context = ModelContext(elements, dict.fromkeys(elements, 0.0), mean_neighbours=8.0 + seed)
    return build_potential({"backbone": backbone, "terms": {"local": LOCAL_ENERGY}}, context, torch.float64).eval()


@BACKBONES
def test_new_elements_leave_what_is_known_of_others(backbone):
    """Fine-tuning adds rows of every table and blocks of the descriptor; other statistics change nothing."""
    old, new = build(backbone, (1, 6, 8)), build(backbone, (1, 6, 7, 8), seed=1)
    transfer = take_over(new, old)
    assert not transfer.fresh and not transfer.unused and transfer.nearest == {7: 6}
    structures = [molecule(1, 6, (1, 6, 8)), crystal(2, 5, (1, 6, 8))]
    energies = [p(graph_of(structures, p.neighbour_lists, torch.float64))["energy"] for p in (old, new)]
    torch.testing.assert_close(*energies, rtol=1e-12, atol=1e-12)
    carbon = molecule(1, 6, (1, 6, 8))
    nitrogen = carbon.copy()
    nitrogen.numbers[carbon.numbers == 6] = 7
    graphs = [graph_of([atoms], new.neighbour_lists, torch.float64, classical=True) for atoms in (carbon, nitrogen)]
    found = [float(new(graph)["energy"]) for graph in graphs]
    assert 6 in carbon.numbers and found[0] == pytest.approx(found[1], rel=1e-12)


@BACKBONES
def test_nothing_beyond_one_cutoff_reaches_an_atom(backbone):
    potential = build({**backbone, "charge_and_spin": False}, (1, 6, 7, 8))
    first, far = molecule(1, 6), molecule(2, 5)
    shift = [potential.backbone.cutoff + first.get_all_distances().max() + far.get_all_distances().max(), 0, 0]
    far.positions += shift
    far.info, both = first.info, first + far
    both.info = first.info
    alone, beside = (
        potential(graph_of([atoms], potential.neighbour_lists, torch.float64, classical=True))["features"][:6]
        for atoms in (first, both)
    )
    torch.testing.assert_close(beside, alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        ("third_generation", "behler_parrinello"),
        ("cent", "behler_parrinello"),
        ("hdnnp_4g", "behler_parrinello"),
        ("qeq", "ani1x"),
        ("charge_embedding", "ani2x"),
        ("aimnet_nse", "deep_pot_se"),
    ],
)
def test_charge_schemes_stand_on_descriptors(name, backbone):
    """With the settings that users get, but narrow: charges have their total, and forces train every network."""
    overrides = [f"model={name}", f"model/backbone={backbone}", "model.backbone.channels=4", "data.path=none"]
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
        config = OmegaConf.to_container(hydra.compose("train", overrides).model, resolve=True)
    torch.manual_seed(0)
    elements = (1, 6, 7, 8)
    potential = build_potential(config, ModelContext(elements, dict.fromkeys(elements, 0.0)), torch.float64).train()
    structures = [molecule(1, 6), molecule(3, 5, total_charge=-1)]
    prediction = potential(graph_of(structures, potential.neighbour_lists, torch.float64))
    if "charges" in prediction:
        totals = [part.sum().item() for part in prediction["charges"].split([6, 5])]
        assert totals == pytest.approx([0, -1], abs=1e-10)
        assert prediction["charges"].std() > 1e-4
    prediction["forces"].square().sum().backward()
    idle = [label for label, p in potential.backbone.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle and all(bool(p.grad.isfinite().all()) for p in potential.backbone.parameters())
