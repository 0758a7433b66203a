"""What is found out before any file is read: parts that don't fit together, and parts that nothing would train."""

import io

import pytest
import torch
from rich.console import Console

from eqff.build import build_potential
from eqff.errors import ConfigError
from eqff.testing.graphs import graph_of
from eqff.testing.structures import molecule
from eqff.train import train
from eqff.training.rehearsal import STAND_IN, require_trained, stand_in, unreached

LOCAL = {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4}
BACKBONE = {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 1}
CHARGES = {"_target_": "eqff.heads.charges.Charges", "hidden": 4}
DIPOLE = {"_target_": "eqff.heads.dipole.Dipole"}


def model(**heads):
    return build_potential({"backbone": BACKBONE, "heads": heads, "terms": {"local": LOCAL}}, STAND_IN)


def test_tables_by_element_say_for_which_elements_a_model_can_be_built():
    """Fixed charges of sodium chloride, and centroids of oxygen alone in water; others don't matter."""
    salt = {"_target_": "eqff.heads.formal_charges.FormalCharges", "charges": {"Na": 1, "Cl": -1}}
    config = {"backbone": BACKBONE, "heads": {"charges": salt}, "terms": {"local": LOCAL}}
    assert build_potential(config, stand_in(config)).elements == (11, 17)
    water = {"ions": {"H": 1, "O": 6}, "centroids": {8: -8}, "sizes": {"H": 0.5, "C": 1, "O": 0.8}, "switch": {"a": 1}}
    assert stand_in({"heads": {"head": water}}).elements == (8,)
    assert stand_in({"heads": {"head": {"charges": {}}}}) is STAND_IN


@pytest.mark.parametrize(
    ("losses", "missed"),
    [
        (["energy"], ["heads.charges", "heads.dipole"]),
        (["forces", "charges"], ["heads.dipole"]),
        (["energy", "dipole"], []),  # which reads the charges
        (["charges"], ["heads.dipole", "terms.local"]),
        (["dipole"], ["terms.local"]),
        ([], ["backbone", "heads.charges", "heads.dipole", "terms.local"]),
    ],
)
def test_what_no_loss_reaches(losses, missed):
    potential = model(charges=CHARGES, dipole=DIPOLE)
    assert unreached(potential.ordered_parts(), losses) == missed


@pytest.mark.parametrize("losses", [["energy"], ["energy", "charges"], ["energy", "dipole"], ["dipole"]])
def test_what_is_unreached_gets_no_gradient(losses):
    """The same from the derivatives themselves."""
    potential = model(charges=CHARGES, dipole=DIPOLE)
    graph = graph_of([molecule(0, 5)], potential.neighbour_lists, torch.float32)
    prediction = potential(graph, forces=False)
    sum(prediction[name].square().sum() for name in losses).backward()
    missed = unreached(potential.ordered_parts(), losses)
    for place, part in potential.ordered_parts().items():
        for name, parameter in part.named_parameters():
            assert (parameter.grad is None) == (place in missed), (place, name)


def test_a_head_that_nothing_trains_is_refused_with_both_remedies():
    with pytest.raises(
        ConfigError, match=r"model\.heads\.charges.*training\.losses\.charges\.weight=1\b.*~model\.heads\.charges"
    ):
        require_trained(model(charges=CHARGES), ["energy"], Console(file=io.StringIO()))


def test_a_head_without_weights_needs_no_loss():
    bare = {**DIPOLE, "atomic_dipoles": False}
    require_trained(model(charges=CHARGES, dipole=bare), ["energy", "charges"], Console(file=io.StringIO()))


def test_an_energy_that_nothing_trains_is_told():
    text = io.StringIO()
    require_trained(model(charges=CHARGES), ["charges"], Console(file=text))
    assert "No loss reaches terms.local" in text.getvalue()


def test_before_any_file_is_read(compose):
    cfg = compose("data.path=nowhere.extxyz", "++training.optimizer.groups={a: {match: 'term.*', lr: 0.1}}")
    with pytest.raises(ConfigError, match="matches no trainable parameter"):
        train(cfg)
