"""The file of a last-layer estimate, ``uncertainty.safetensors`` beside its model; nothing of it is executed."""

from __future__ import annotations

import os
from math import inf
from pathlib import Path
from typing import Any

from eqff.checkpoints import MODEL_FILE, load_model
from eqff.checkpoints.container import read_container, write_container
from eqff.checkpoints.upgrades import FORMAT_VERSION
from eqff.errors import ModelFileError
from eqff.uncertainty.digest import weights_digest
from eqff.uncertainty.last_layer import LastLayerEstimate, Posterior

UNCERTAINTY_FILE = "uncertainty.safetensors"
_KIND = "last-layer estimate"
_MAX_SAMPLES = 4096


def save_estimate(path: str | Path, estimate: LastLayerEstimate, model: str | Path | None = None) -> Path:
    """Writes an estimate, whole or not at all, with a digest of the weights that it belongs to.

    Args:
        path: Of the file.
        estimate: With its model.
        model: That model's file, kept relative to the other, so that both can be moved together; None for
            ``model.safetensors`` beside it.
    """
    path, posterior = Path(path), estimate.posterior
    model = path.with_name(MODEL_FILE) if model is None else Path(model)
    header = {
        "model": Path(os.path.relpath(model.resolve(), path.resolve().parent)).as_posix(),
        "format_version": FORMAT_VERSION,
        "kind": _KIND,
        "weights": weights_digest(estimate.members[0]),
        "scales": list(posterior.scales),
        "samples": posterior.samples,
    }
    return write_container(path, header, {"root": posterior.root.cpu().contiguous()})


def load_estimate(path: str | Path, **settings: Any) -> LastLayerEstimate:
    """The model beside an estimate's file, with its uncertainties.

    Args:
        path: Of ``uncertainty.safetensors``, which says where the model is.
        settings: Of `eqff.checkpoints.load_model`.

    Raises:
        ModelFileError: The file is damaged or none of these, or was made for other weights.
    """
    path = Path(path).expanduser()
    container = read_container(path)
    header = container.header
    if header.get("kind") != _KIND or "root" not in container.tensors:
        raise ModelFileError(f"{path} holds no last-layer estimate. Fit it again (python -m eqff.uncertainty).")
    model = path.parent / str(header.get("model", MODEL_FILE))
    potential = load_model(model, **settings)
    if header.get("weights") != weights_digest(potential):
        raise ModelFileError(
            f"{path} was made for other weights than those of {model}: the model was trained further or replaced. Fit "
            "it again (python -m eqff.uncertainty)."
        )
    try:
        (energy, forces), samples = map(float, header["scales"]), int(header["samples"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path}: its scales can't be read ({error!r}). Fit it again.") from error
    sane = 0 < samples <= _MAX_SAMPLES and all(0 <= scale < inf for scale in (energy, forces))
    if not (sane and bool(container.tensors["root"].isfinite().all())):
        raise ModelFileError(f"{path}: its numbers are out of all reason. Fit it again.")
    return LastLayerEstimate(potential, Posterior(container.tensors["root"].clone(), (energy, forces), samples)).eval()
