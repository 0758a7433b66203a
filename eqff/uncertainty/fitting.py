"""Fitting a last-layer estimate: covariance from training structures, its two free numbers from held-back ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eqff.data.atomic_data import AtomicData
from eqff.errors import DataError
from eqff.evaluation.calibration import Doubts, calibration, scales_of
from eqff.evaluation.predictions import Prediction, graph_for, parts_of, predict
from eqff.potential import Potential
from eqff.uncertainty.calibrating import on_level
from eqff.uncertainty.last_layer import LastLayerEstimate, Posterior, local_term, structure_features

REGULARISATIONS = tuple(10.0**power for power in range(-10, 1))
"""s² that are tried, in units of the mean diagonal of the covariance."""


def fit_last_layer(
    potential: Potential,
    training: Sequence[AtomicData],
    held_back: Sequence[AtomicData],
    *,
    samples: int = 32,
    regularisations: Sequence[float] = REGULARISATIONS,
    batch_size: int = 32,
) -> LastLayerEstimate:
    """A model with the last-layer estimate of its uncertainty.

    The regularisation s² is the one of ``regularisations`` that makes the energies of ``held_back`` most likely; the
    scales give their energies' and forces' errors, divided by uncertainties, unit variance.

    Args:
        potential: The trained model.
        training: The structures that it was trained on, or many of them; labels are not needed.
        held_back: Structures with energies (and forces), not in training: those of validation.
        samples: Drawn last layers for uncertainties of forces.
        regularisations: s² to choose from, in units of the covariance's mean diagonal; give one to fix it.
        batch_size: Structures at a time.

    Raises:
        DataError: No structures, or none held back that has an energy, or one at another level of theory.
        ModelError: The model has no local energy, or does not know an element.
    """
    held_back = on_level(potential, held_back)
    energies = np.array([float(f.energy) if f.has("energy") else np.nan for f in held_back])
    known = np.isfinite(energies)
    if not training or not known.any():
        raise DataError(
            f"A last-layer estimate needs training structures ({len(training)} given) and held-back ones with energies "
            f"({int(known.sum())} of {len(held_back)} given have one)."
        )
    seen, _ = _features(potential, training, batch_size)
    features, predicted = _features(potential, held_back, batch_size)
    sizes = torch.tensor([frame.num_nodes for frame in training], dtype=torch.float64)
    values, vectors = torch.linalg.eigh((seen / sizes[:, None]).T @ (seen / sizes[:, None]))
    errors = predicted.numpy()[known] - energies[known]
    roots = [_root(values, vectors, share) for share in regularisations]
    root = min(roots, key=lambda root: _nll(errors, torch.linalg.vector_norm(features @ root, dim=1).numpy()[known]))
    posterior = Posterior(root, samples=samples)
    labels = ("energy", "forces") if any(frame.has("forces") for frame in held_back) else ("energy",)
    raw: list[Prediction] = predict(LastLayerEstimate(potential, posterior), held_back, labels=labels)  # type: ignore[arg-type]
    return LastLayerEstimate(potential, replace(posterior, scales=scales_of(held_back, raw))).eval()


def _root(values: Tensor, vectors: Tensor, share: float) -> Tensor:
    """The root of the inverse of a covariance (its eigenvalues and eigenvectors) with a share of its mean added."""
    mean = values.mean().clamp(min=torch.finfo(torch.float64).tiny)
    return vectors / (values.clamp(min=0) + share * mean).sqrt()


def _nll(errors: np.ndarray, sigmas: np.ndarray) -> float:
    return calibration(Doubts(errors, sigmas, "eV")).nll_scaled


def _features(potential: Potential, frames: Sequence[AtomicData], batch_size: int) -> tuple[Tensor, Tensor]:
    """Last-layer features (M, D) and energies (M,) of structures, float64, on the CPU."""
    term, parts, energies = local_term(potential), [], []
    for part in parts_of(frames, batch_size):
        graph = graph_for(potential, part)
        with torch.no_grad():
            prediction = potential(graph, forces=False)
            parts.append(structure_features(term, graph, prediction).cpu())
            energies.append(prediction["energy"].detach().cpu())
    return torch.cat(parts), torch.cat(energies)


def fit(
    model: str | Path,
    training: str | Sequence[str],
    held_back: str | Sequence[str],
    *,
    samples: int = 32,
    **reading: object,
) -> Path:
    """Fits the estimate of the model in a run folder and writes it there; load it by its path, see `eqff.load`.

    Args:
        model: Run folder or model file.
        training: File of the structures that it was trained on.
        held_back: File of structures with energies and forces that it was not trained on.
        samples: See `fit_last_layer`.
        reading: Of `eqff.data.reading.read_frames`: ``total_charge``, ``keys``, ``units``...

    Returns:
        The file ``uncertainty.safetensors`` beside the model.
    """
    from eqff.checkpoints import find_model_file, load_model
    from eqff.data.reading import read_frames
    from eqff.uncertainty.estimate_file import UNCERTAINTY_FILE, save_estimate

    path = find_model_file(model)
    seen, others = (read_frames(source, **reading) for source in (training, held_back))  # type: ignore[arg-type]
    estimate = fit_last_layer(load_model(path), seen, others, samples=samples)
    return save_estimate(path.with_name(UNCERTAINTY_FILE), estimate)
