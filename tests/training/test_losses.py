"""Losses against their definitions, with missing labels, per atom, and in two stages."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eqff.errors import ConfigError
from eqff.training.field_loss import FieldLoss
from eqff.training.losses import Losses

ATOMS = torch.tensor([2, 3])


def forces(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(5, 3, generator=generator), torch.randn(5, 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("mse", lambda d: (d**2).mean()),
        ("mae", lambda d: d.abs().mean()),
        ("l2", lambda d: d.norm(dim=1).mean()),
        ("huber", lambda d: torch.where(d.abs() < 0.5, d**2, d.abs() - 0.25).mean()),
    ],
)
def test_definitions(function, expected):
    prediction, label = forces()
    loss = FieldLoss("forces", function, delta=0.5)(prediction, label, ATOMS)
    # huber is divided by delta: (d²/2)/0.5 below it, (0.5 |d| - 0.125)/0.5 above
    torch.testing.assert_close(loss, expected(prediction - label.float()), rtol=1e-5, atol=0)


@given(st.sampled_from(["mse", "mae", "l2", "huber"]), st.sets(st.integers(0, 4), max_size=4))
def test_unknown_labels_count_for_nothing(function, missing):
    prediction, label = forces()
    known = [i for i in range(5) if i not in missing]
    holes = label.clone()
    holes[list(missing), 1] = torch.nan
    loss = FieldLoss("forces", function)
    torch.testing.assert_close(loss(prediction, holes, ATOMS), loss(prediction[known], label[known], ATOMS))


def test_all_unknown_is_zero_with_zero_gradient():
    prediction = torch.randn(5, 3, requires_grad=True)
    loss = FieldLoss("forces", "l2")(prediction, torch.full((5, 3), torch.nan), ATOMS)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(prediction.grad, torch.zeros_like(prediction))


def test_l2_is_the_same_in_every_frame_and_mae_is_not():
    prediction, label = forces()
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))[0]
    turned = prediction @ turn, label @ turn.double()
    for function, same in (("l2", True), ("mae", False)):
        loss = FieldLoss("forces", function)
        assert torch.isclose(loss(prediction, label, ATOMS), loss(*turned, ATOMS)).item() is same


def test_per_atom():
    energy, label = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 8.0])
    loss = FieldLoss("energy", "mae", per_atom=True)(energy, label, ATOMS)
    assert loss.item() == pytest.approx((2 / 2 + 6 / 3) / 2)


def test_weights_of_two_stages():
    energy = {"function": "mae", "weight": 1.0, "second_weight": 10.0}
    losses = Losses.from_config({"energy": energy, "forces": {"function": "mae", "weight": 2.0}})
    prediction = {"energy": torch.zeros(2), "forces": torch.zeros(5, 3)}
    batch = {"energy": torch.full((2,), 3.0), "forces": torch.full((5, 3), 0.5)}
    first, parts = losses(prediction, batch, ATOMS, False)
    second, _ = losses(prediction, batch, ATOMS, True)
    assert (first.item(), second.item()) == (3.0 + 2 * 0.5, 30.0 + 2 * 0.5)
    assert {name: part.item() for name, part in parts.items()} == {"energy": 3.0, "forces": 0.5}


def test_a_second_weight_needs_a_second_stage():
    """Validation losses have the second weights: they would judge by what is not trained."""
    losses = Losses.from_config({"energy": {"weight": 1.0, "second_weight": 10.0}})
    with pytest.raises(
        ConfigError, match=r"losses\.energy\.second_weight=10 would never hold.*training\.second_stage="
    ):
        losses.check_stages(None)
    losses.check_stages(0.5)
    Losses.from_config({"energy": {"weight": 1.0, "second_weight": 1.0}}).check_stages(None)


def test_losses_are_told_apart_by_their_last_weights():
    one, same, other = (
        Losses.from_config({"energy": {}, "forces": {"weight": first, "second_weight": second}})
        for first, second in ((1.0, 0.0), (2.0, 0.0), (1.0, 0.5))
    )
    assert one.judgement == same.judgement != other.judgement


def test_null_leaves_a_field_out_and_derivatives_follow():
    losses = Losses.from_config({"energy": {}, "forces": None})
    assert losses.fields == ("energy",)
    assert not losses.derivatives
    assert Losses.from_config({"energy": {}, "stress": {}}).stress


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"forcess": {}}, "Did you mean 'forces'"),
        ({"forces": {"function": "hubert"}}, "Did you mean 'huber'"),
        ({"forces": {"wieght": 1.0}}, "Did you mean 'weight'"),
        ({"forces": {"per_atom": True}}, "each atom already"),
        ({"positions": {}}, "needs a label"),
        ({"energy": {"weight": -1.0}}, "must not be negative"),
        ({"energy": {"weight": 0.0}}, "all zero"),
        ({}, "is empty"),
    ],
)
def test_messages(config, message):
    with pytest.raises(ConfigError, match=message):
        Losses.from_config(config)


def test_asks_model_and_data():
    losses = Losses.from_config({"energy": {}, "charges": {}})
    with pytest.raises(ConfigError, match="no part that predicts 'charges'"):
        losses.check_model(("energy", "forces"))
    with pytest.raises(ConfigError, match="none of the 7 training frames has 'charges'.*energy on 7|energy \\(7\\)"):
        losses.check_labels({"energy": 7, "charges": 0}, 7)


def test_forces_that_are_there_and_not_trained_are_told():
    """A group of losses that was chosen for another field replaces the default ones, that of forces too."""
    without = Losses.from_config({"energy": {}, "charges": {}})
    assert "training.losses.forces.weight" in without.unused({"energy": 7, "forces": 5, "charges": 7})[0]
    assert not without.unused({"energy": 7, "charges": 7})
    assert not Losses.from_config({"energy": {}, "forces": {}}).unused({"energy": 7, "forces": 5})
    assert not Losses.from_config({"charges": {}}).unused({"forces": 5})
