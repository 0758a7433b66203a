"""What watches a validation metric: the weights with the best so far, and the end when none gets better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
    """Lightning's callback with one file, written in the validation itself, so that the state that is written at the
    end of the epoch knows of it; and one that finds its file again after the run folder has been moved.

    Args:
        path: Of the checkpoint.
        monitor: The metric; less is better.
    """

    def __init__(self, path: Path, monitor: str):
        super().__init__(
            dirpath=path.parent,
            filename=path.stem,
            monitor=monitor,
            save_top_k=1,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )

    @property
    def _file(self) -> str:
        return str(Path(self.dirpath) / f"{self.filename}{self.FILE_EXTENSION}")

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Score and path; Lightning forgets the score if the path is another one, and would overwrite the best."""
        here: dict[str, Any] = {"dirpath": self.dirpath}
        if state_dict["best_model_path"]:
            here |= dict.fromkeys(("best_model_path", "kth_best_model_path"), self._file)
            here["best_k_models"] = {self._file: state_dict["best_model_score"]}
        super().load_state_dict({**state_dict, **here})


class Patience(EarlyStopping):
    """Lightning's callback, counting in the validation itself: ends of epochs without one would count the last one
    again. On resume the config says how many validations it waits for, not the state.

    Args:
        monitor: The metric; less is better.
        validations: Without a better one, after which training ends.
    """

    def __init__(self, monitor: str, validations: int):
        super().__init__(monitor, patience=validations, check_on_train_epoch_end=False)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Score and count."""
        super().load_state_dict({**state_dict, "patience": self.patience})
