"""`eqff.load`: a ready model from a path, a name, or a repository."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from eqff.checkpoints.metadata import ModelMetadata
from eqff.checkpoints.model_file import load_model
from eqff.outside import ENTRY
from eqff.potential import Potential
from eqff.registry.entry import ModelEntry
from eqff.registry.locate import locate


def load(
    source: str | Path,
    *,
    dtype: torch.dtype | str | None = None,
    device: str | torch.device = "cpu",
    packages: tuple[str, ...] = (),
) -> Potential:
    """A trained model, ready for evaluation, with its ``metadata``.

    Args:
        source: Run folder or model file; a name that ``python -m eqff.models`` lists; or
            ``hf://owner/repo[/file][@revision]``.
        dtype: Another precision than the file's, "float32" or "float64".
        device: Where it goes.
        packages: Names of your own packages whose parts the file may use.

    Raises:
        ConfigError: ``dtype`` is none, or a registry can't be read.
        ModelFileError: There is no model at that path or of that name, or it is damaged, too new, or made of
            parts that can't be built here.
        DownloadError: It can't be downloaded, or is not the file that the registry describes.
    """
    found = locate(source)
    potential = load_model(found.path, dtype=dtype, device=device, packages=packages)
    if found.entry is not None and potential.metadata is not None:
        potential.metadata = _with_entry(potential.metadata, found.entry)
    return potential


def _with_entry(metadata: ModelMetadata, entry: ModelEntry) -> ModelMetadata:
    """What the registry knows of the range goes where the file says nothing; refusing wins over warning."""
    training: dict[str, Any] = dict(metadata.training)
    if not training.get("states"):
        training["states"] = [{"total_charge": charge, "multiplicity": spin} for charge, spin in entry.states]
    if training.get(ENTRY) != "refuse":
        training[ENTRY] = entry.outside
    return replace(metadata, training=training)
