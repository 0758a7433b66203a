"""States of a training: loaded weights-only, and refused in one message where they are damaged or hostile."""

import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from eqff.errors import TrainingError
from eqff.training.checkpoint_io import AtomicCheckpointIO, read_checkpoint

STATE = {"state_dict": {"w": torch.arange(6.0)}, "global_step": 3, "epoch": 1, "loops": {}}


class Hostile:
    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return (os.system, (f"touch {self.canary}",))


READERS = {
    "ours": read_checkpoint,
    "lightning's": AtomicCheckpointIO().load_checkpoint,
    "lightning's, asked for all": lambda path: AtomicCheckpointIO().load_checkpoint(path, weights_only=False),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_pickles_run_nothing(tmp_path, read):
    canary = tmp_path / "canary"
    torch.save(STATE | {"extra": Hostile(canary)}, tmp_path / "zip.ckpt")
    torch.save(STATE | {"extra": Hostile(canary)}, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.ckpt").write_bytes(pickle.dumps(Hostile(canary)))
    with zipfile.ZipFile(tmp_path / "hand.ckpt", "w") as archive:
        archive.writestr("hand/data.pkl", pickle.dumps(Hostile(canary)))
    for file in sorted(tmp_path.iterdir()):
        with pytest.raises(TrainingError, match=f"{file.name}' can't be read") as caught:
            read(file)
        assert len(str(caught.value)) < 600 and "\n" not in str(caught.value)
    assert not canary.exists()


@pytest.mark.parametrize("content", [STATE["state_dict"], [1], 3.0, {"state_dict": {}}, STATE | {"loops": 1}])
def test_other_contents(tmp_path, content):
    path = tmp_path / "last.ckpt"
    torch.save(content, path)
    if isinstance(content, dict) and "loops" in content:
        assert read_checkpoint(path)["global_step"] == 3
    else:
        with pytest.raises(TrainingError, match="is no state of a training"):
            read_checkpoint(path)


def test_damage_is_a_training_error_or_harmless(tmp_path):
    path = tmp_path / "last.ckpt"
    torch.save(STATE, path)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for trial in range(150):
        damaged = bytearray(content[: int(rng.integers(len(content)))] if trial % 3 == 0 else content)
        for position in rng.integers(0, max(len(damaged), 1), 1 + trial % 2 if damaged else 0):
            damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        try:
            read_checkpoint(path)
        except TrainingError as error:
            assert "last.ckpt" in str(error)
