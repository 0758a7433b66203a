"""Lightning checkpoints that are either whole or not there, and that execute nothing when they are read."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from eqff.checkpoints.atomic import replacing
from eqff.errors import TrainingError

_UNREADABLE = (OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, UnpicklingError)
_NEEDED = ("state_dict", "global_step", "epoch", "loops")


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint on the CPU; nothing in it is executed.

    Raises:
        TrainingError: It can't be read: it is cut off, damaged, or holds more than tensors and plain values.
    """
    content = _load(path, "cpu")
    missing = [name for name in _NEEDED if not isinstance(content, dict) or name not in content]
    if missing:
        raise TrainingError(f"'{path}' is no state of a training: it lacks {', '.join(missing)}.")
    return content


def _load(path: str | Path, map_location: Any) -> Any:
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except _UNREADABLE as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise TrainingError(f"'{path}' can't be read: {reason}") from error


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames: Lightning's own goes through a temporary folder on another disk."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Mapping[str, Path] | None = None
    ) -> None:
        """Replaces the file at ``path`` in one step.

        Args:
            checkpoint: Tensors and plain values.
            path: Of the file.
            storage_options: ``previous``: under which path the file that stands at ``path`` is kept.

        Raises:
            StorageError: The disk is full.
        """
        # through memory: torch's own writer hides why the system refused to write
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with replacing(path, (storage_options or {}).get("previous")) as temporary:
            temporary.write_bytes(content.getbuffer())

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Reads tensors and plain values; whatever is asked for, nothing in the file is executed."""
        return _load(path, map_location)
