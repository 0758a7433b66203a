"""What watches a validation metric: the weights with the best so far, and the end when none gets better."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import Tensor

from eqff.errors import TrainingError
from eqff.training.checkpoint_io import read_checkpoint

log = logging.getLogger(__name__)


class BestCheckpoint(ModelCheckpoint):
    """Lightning's callback with one file, written in the validation itself, so that the state that is written at the
    end of the epoch knows of it; and one that finds its file again after the run folder has been moved. A validation
    that came after the state, because a budget had ended, is known from the file.

    Args:
        path: Of the checkpoint.
        monitor: The metric; less is better.
        judgement: What the metric follows from besides predictions. On resume, scores with another one don't count.
    """

    def __init__(self, path: Path, monitor: str, judgement: str = ""):
        super().__init__(
            dirpath=path.parent,
            filename=path.stem,
            monitor=monitor,
            save_top_k=1,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )

        self.judgement = judgement
        self._step = 0

    @property
    def _file(self) -> str:
        return str(Path(self.dirpath) / f"{self.filename}{self.FILE_EXTENSION}")

    def state_dict(self) -> dict[str, Any]:
        """Score, path, and what the score follows from."""
        return super().state_dict() | {"judgement": self.judgement}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Score and path; Lightning forgets the score if the path is another one, and would overwrite the best."""
        if not self._comparable(state_dict):
            log.warning("training.losses have changed: validations from here on alone say which weights are the best.")
            return
        here: dict[str, Any] = {"dirpath": self.dirpath}
        score = self._score_of_file()
        if score is None:
            score = state_dict["best_model_score"]
        if score is not None:
            here |= dict.fromkeys(("best_model_path", "kth_best_model_path"), self._file)
            here |= {"best_k_models": {self._file: score}, "best_model_score": score, "kth_value": score}
        super().load_state_dict({**state_dict, **here})

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Notes from which step training goes on; Lightning calls this first."""
        self._step = checkpoint["global_step"]

    def _score_of_file(self) -> Tensor | None:
        """The score with which the file was written, if it is of the steps that are done; what comes is done again."""
        try:
            content = read_checkpoint(self._file)
        except TrainingError:
            return None
        known = content.get("callbacks", {}).get(self.state_key, {})
        done = content["global_step"] <= self._step
        return known.get("best_model_score") if done and self._comparable(known) else None

    def _comparable(self, state: dict[str, Any]) -> bool:
        """Whether scores of a state follow from the same; those of before there was a note of it are taken to."""
        return state.get("judgement", self.judgement) == self.judgement


class Patience(EarlyStopping):
    """Lightning's callback, counting in the validation itself: ends of epochs without one would count the last one
    again. On resume the config says how many validations it waits for, not the state.

    Args:
        monitor: The metric; less is better.
        validations: Without a better one, after which training ends.
        judgement: As for `BestCheckpoint`.
    """

    def __init__(self, monitor: str, validations: int, judgement: str = ""):
        super().__init__(monitor, patience=validations, check_on_train_epoch_end=False)
        self.judgement = judgement

    def state_dict(self) -> dict[str, Any]:
        """Score and count, and what the score follows from."""
        return super().state_dict() | {"judgement": self.judgement}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Score and count."""
        if state_dict.get("judgement", self.judgement) != self.judgement:
            return
        super().load_state_dict({**state_dict, "patience": self.patience})
