"""A training that was stopped goes on as if it had not been: to the last bit."""

import pytest
import torch

from eqff.errors import ConfigError, TrainingError
from eqff.tracking.metric_files import read_metrics
from eqff.train import train
from eqff.training.callbacks.pacing import Pacing


def state(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def assert_same(one, other):
    for key in ("state_dict", "current_state_dict"):
        for name, value in one[key].items():
            assert torch.equal(value, other[key][name]), f"{key} {name}"
    moments = one["optimizer_states"][0]["state"], other["optimizer_states"][0]["state"]
    for index, values in moments[0].items():
        for name, value in values.items():
            assert torch.equal(value, moments[1][index][name]), f"optimizer {index} {name}"
    assert one["global_step"] == other["global_step"]


def test_two_and_two_epochs_are_four(compose):
    whole = train(compose("trainer.max_epochs=4", "training/schedule=constant", output="whole"))
    first = train(compose("trainer.max_epochs=2", "training/schedule=constant", output="parts"))
    cfg = compose(f"resume={first.folder}")
    second = train(cfg, [f"resume={first.folder}", "trainer.max_epochs=4"])
    assert second.folder == first.folder
    assert_same(state(whole.folder), state(second.folder))
    steps = [row["step"] for row in read_metrics(second.folder) if "train/loss" in row]
    assert steps == [row["step"] for row in read_metrics(whole.folder) if "train/loss" in row]
    assert second.metrics["val/forces_mae"] == whole.metrics["val/forces_mae"]


@pytest.mark.parametrize("stop_step", [3, 5, 7])
def test_stopped_anywhere(compose, monkeypatch, stop_step):
    """Within an epoch, at its end, and with a decaying schedule."""
    whole = train(compose("trainer.max_epochs=4", output="whole"))
    with monkeypatch.context() as patch:
        stop_after(patch, stop_step)
        first = train(compose("trainer.max_epochs=4", output="parts"))
    assert state(first.folder)["global_step"] == stop_step
    second = train(compose(f"resume={first.folder}"), [f"resume={first.folder}"])
    assert_same(state(whole.folder), state(second.folder))


def stop_after(patch, step):
    original = Pacing.on_train_batch_end

    def stopping(self, trainer, *args):
        original(self, trainer, *args)
        if trainer.global_step == step:
            self.stop(trainer)

    patch.setattr(Pacing, "on_train_batch_end", stopping)


def test_refuses_what_has_no_state(compose, tmp_path):
    with pytest.raises(TrainingError, match="can't be resumed"):
        train(compose(f"resume={tmp_path / 'nothing'}"), [])


def test_refuses_another_model(compose):
    first = train(compose("trainer.max_epochs=1"))
    with pytest.raises(ConfigError, match="can't be changed on resume"):
        train(compose(f"resume={first.folder}"), ["model.backbone.channels=8"])
    with pytest.raises(ConfigError, match="no setting 'trainer.max_epoch'"):
        train(compose(f"resume={first.folder}"), ["trainer.max_epoch=8"])
