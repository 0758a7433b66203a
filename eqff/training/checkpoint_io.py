"""Lightning checkpoints that are either whole or not there."""

from __future__ import annotations

from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from eqff.checkpoints.atomic import replacing


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames: Lightning's own goes through a temporary folder on another disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Replaces the file at ``path`` in one step."""
        with replacing(path) as temporary:
            torch.save(checkpoint, temporary)
