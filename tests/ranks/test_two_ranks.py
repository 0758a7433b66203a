"""Two ranks compute what one process computes, whatever their shares are, and end together."""

from functools import partial

import pytest
import rank_work
import torch

from eqff.data.batching import collate
from eqff.data.packing import divide, measure
from eqff.errors import TrainingError
from eqff.ranks.launch import launch
from eqff.ranks.layout import Layout

ALONE = Layout("cpu", 1)
ROUNDING = {"float64": 1e-12, "float32": 2e-5}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    path = tmp_path_factory.mktemp("ranks") / "results.pt"
    with pytest.raises(TrainingError) as failure:
        launch(partial(rank_work.everything, path=path), 2)
    return torch.load(path, weights_only=False), str(failure.value)


@pytest.fixture(scope="module")
def ranks(ended):
    return ended[0]


def largest(tensors):
    return max(float(t.abs().max()) for t in tensors)


@pytest.mark.parametrize("case", rank_work.STEPS)
def test_loss_and_gradients_of_one_process(ranks, case):
    settings = {name: value for name, value in rank_work.STEPS[case].items() if name != "compiled"}
    losses, gradients = ranks["steps"][case]
    expected_losses, expected = rank_work.step(ALONE, **settings)
    rounding = ROUNDING[settings.get("dtype", "float64")]
    assert len(losses) == len(expected_losses) == -(-7 // settings.get("batch_size", 7))
    torch.testing.assert_close(losses, expected_losses.to(losses), rtol=rounding, atol=0)
    assert len(gradients) == len(expected)
    for own, one in zip(gradients, expected, strict=True):
        assert own.keys() == one.keys()
        scale = largest(one.values())
        assert largest(own[name] - one[name] for name in one) <= rounding * scale
    assert ranks["same gradients"][case]


@pytest.mark.parametrize("case", ["sparse", "one rank without forces"])
def test_the_mean_of_the_ranks_own_losses_is_another(ranks, case):
    """What the comparison above would find if ranks divided by their own numbers of labels."""
    frames = rank_work.frames(rank_work.STEPS[case]["missing"])
    module = rank_work.make_module()
    own = []
    for share in divide(measure(frames, "edges"), 2):
        batch = collate([frames[i] for i in share])
        own.append(module.losses(module(batch), batch, batch.ptr.diff(), False)[0].item())
    assert abs(sum(own) / 2 / float(ranks["steps"][case][0][0]) - 1) > 0.01


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_weights_and_average_stay_identical(ranks, optimizer):
    weights, average, metrics = ranks["trained"][optimizer]
    assert ranks["identical"][optimizer]
    expected = rank_work.train_with_average(ALONE, optimizer)
    for own, one in zip([*weights, *average], [*expected[0], *expected[1]], strict=True):
        torch.testing.assert_close(own, one, rtol=1e-9, atol=1e-10)
    assert metrics.keys() == expected[2].keys() and "val/forces_mae" in metrics
    assert metrics == pytest.approx(expected[2], rel=1e-6)  # Lightning keeps them in float32


def test_parameters_without_gradient_are_found(ranks):
    """The constant shift of the energy has no force; DDP, told so, trains the rest."""
    names, gradients, steps = ranks["unused"]
    assert names and steps == 3
    assert not set(names) & gradients.keys() and gradients


def test_a_failure_of_one_is_told_once(ranks):
    first, second = ranks["failures"]
    assert first[:3] == ["fine", "FailedElsewhere: Rank 1 failed.", "DataError: rank 0"]
    assert second[:3] == ["fine", "DataError: rank 1", "FailedElsewhere: Rank 0 failed."]
    assert first[3] == "ZeroDivisionError" and second[3] == "FailedElsewhere"
    assert first[4:] == second[4:] == ["from 0", {"a": 3.0, "b": 0.0}]


def test_no_rank_waits_for_one_that_failed(ended):
    """The first rank was waiting, which it would do for half an hour; the message is that of the one that failed."""
    assert ended[1] == "the second rank can't go on"


@pytest.mark.slow
def test_a_killed_rank_ends_all():
    with pytest.raises(TrainingError, match="Rank 1 was ended from outside, by signal SIGKILL"):
        launch(rank_work.killed, 2)
