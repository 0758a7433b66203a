"""Losses on the values after every pass: they are the weighted mean of the passes' losses, and are checked early."""

import pytest
import torch

from eqff.errors import ConfigError
from eqff.training.field_loss import FieldLoss
from eqff.training.losses import Losses
from eqff.training.metrics import LossSums

ATOMS = torch.tensor([2, 3])
PER_PASS = {"pass_charges": 3}


def passes(seed=0):
    """Predictions after three passes, and labels of which one is unknown."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randn(5, generator=generator)
    label[3] = torch.nan
    return torch.randn(5, 3, generator=generator, requires_grad=True), label


@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 5.0), (0.0, 0.0, 1.0)])
@pytest.mark.parametrize("function", ["mse", "mae", "huber"])
def test_is_the_weighted_mean_over_passes(function, weights):
    prediction, label = passes()
    loss = FieldLoss("pass_charges", function, pass_weights=weights)(prediction, label, ATOMS)
    single = FieldLoss("charges", function)
    shares = torch.tensor(weights or (1.0, 1.0, 1.0))
    expected = sum(w * single(prediction[:, i], label, ATOMS) for i, w in enumerate(shares / shares.sum()))
    torch.testing.assert_close(loss, expected)
    loss.backward()
    reached = prediction.grad.abs().sum(dim=0) > 0
    assert reached.tolist() == [bool(w) for w in shares]


def test_labels_stand_under_their_own_name():
    """Also in the sums over a validation set, and beside a loss on the last pass."""
    losses = Losses.from_config({"pass_charges": {"weight": 2.0}, "charges": {"weight": 1.0}})
    assert losses.fields == ("pass_charges", "charges") and losses.labels == ("charges",)
    prediction, label = passes()
    result = {"pass_charges": prediction, "charges": prediction[:, -1]}
    total, parts = losses(result, {"charges": label}, ATOMS, second_stage=False)
    torch.testing.assert_close(total, 2 * parts["pass_charges"] + parts["charges"])
    sums = LossSums(losses)
    sums.update(result, {"charges": label}, ATOMS)
    torch.testing.assert_close(sums.compute().float(), total.detach())


def test_a_model_without_the_field_is_refused():
    losses = Losses.from_config({"pass_charges": {}})
    losses.check_model(("energy",), PER_PASS)
    with pytest.raises(ConfigError, match="no exchange of the model writes 'charges'.*exchange@model.exchanges"):
        losses.check_model(("energy", "charges"))


def test_a_missing_label_is_named():
    with pytest.raises(ConfigError, match="training.losses.pass_charges: none of the 7 training frames has 'charges'"):
        Losses.from_config({"pass_charges": {}}).check_labels({"energy": 7}, 7)


@pytest.mark.parametrize(
    ("field", "weights", "message"),
    [
        ("charges", [1.0], "only a field of every pass, as pass_charges"),
        ("pass_charges", [], "all zero"),
        ("pass_charges", [0.0, 0.0, 0.0], "all zero"),
        ("pass_charges", [1.0, -1.0, 1.0], "negative"),
        ("pass_charges", [1.0, 1.0], "has 2 numbers, but the model has 3 passes"),
        ("pass_scalars", None, "no field 'scalars'"),
        ("pass_positions", None, "a loss needs a label"),
    ],
)
def test_settings_that_cannot_be_right(field, weights, message):
    with pytest.raises(ConfigError, match=message):
        Losses.from_config({field: {"pass_weights": weights}}).check_model(("charges",), PER_PASS)


def test_a_batch_that_is_shared_out_has_the_same_loss():
    """Two processes' parts add up to the loss of the whole, also where they know different numbers of labels."""
    losses = Losses.from_config({"pass_charges": {"pass_weights": [1.0, 1.0, 3.0]}})
    prediction, label = passes()
    whole, _ = losses({"pass_charges": prediction}, {"charges": label}, ATOMS, second_stage=False)
    parts = [slice(0, 2), slice(2, 5)]
    sums = [losses.terms[0].sums(prediction[part], label[part], ATOMS) for part in parts]
    total = sum(torch.stack([value.detach().double() for value in pair]) for pair in sums)
    shares = [
        losses.share({"pass_charges": prediction[part]}, {"charges": label[part]}, ATOMS, False, lambda own: total)[0]
        for part in parts
    ]
    torch.testing.assert_close(sum(shares), whole)
