"""An evaluation as files: JSON, markdown, figures, and the predictions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write
from matplotlib.figure import Figure

from eqff.checkpoints.atomic import replacing
from eqff.checkpoints.plain import plain
from eqff.data import fields as field_table
from eqff.data.atomic_data import AtomicData
from eqff.data.atoms import columns, to_atoms
from eqff.data.summary import make_report
from eqff.evaluation.calibration_figure import calibration_figure
from eqff.evaluation.cluster_figure import cluster_figure
from eqff.evaluation.evaluation import Evaluation
from eqff.evaluation.metrics import Samples
from eqff.evaluation.predictions import Prediction
from eqff.evaluation.tables import calibrations_of, markdown, number, spoken
from eqff.tracking.error_plots import Panel, error_distribution, parity
from eqff.tracking.plots import save_figure

PREFIX = "predicted_"
"""Before the names of predicted fields in files, where the plain names belong to labels."""


def to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """Plain values for JSON: errors in the units that ``units`` names.

    Where it is known what was evaluated, also that and what is in the set: `eqff.compare` reads both.
    """
    about = {}
    if evaluation.about:
        about = {"evaluated": evaluation.about, "data": make_report(evaluation.name, evaluation.frames).to_dict()}
    return plain(
        about
        | {
            "name": evaluation.name,
            "frames": len(evaluation.frames),
            "atoms": evaluation.num_atoms,
            "seconds": evaluation.seconds,
            "units": evaluation.units(),
            "errors": {name: errors.to_dict() for name, errors in evaluation.errors.items()},
            "by": {
                kind: {part: {key: e.to_dict() for key, e in found.items()} for part, found in parts.items()}
                for kind, parts in evaluation.parts.items()
            },
            "uncertainty": {name: score.to_dict() for name, (_, score) in calibrations_of(evaluation).items()},
            "notes": list(evaluation.notes),
        }
    )


def figures(evaluation: Evaluation) -> dict[str, Figure]:
    """Parity plots and error distributions of everything compared, uncertainties against errors, errors by cluster;
    empty without labels."""
    samples = evaluation.samples.values()
    if not samples:
        return {}
    # a field that is shown as a whole and per atom is one cloud in two units: one panel of each figure is enough
    per_atom = {s.quantity.field for s in samples if s.quantity.per_atom}
    whole = {s.quantity.field for s in samples if not s.quantity.per_atom}
    spread = [s for s in samples if s.quantity.per_atom or s.quantity.field not in per_atom]
    points = [s for s in samples if not s.quantity.per_atom or s.quantity.field not in whole]
    drawn = {
        "parity": parity([_parity_panel(s, evaluation.frames) for s in points]),
        "errors": error_distribution([_error_panel(s) for s in spread]),
    }
    found = calibrations_of(evaluation)
    drawn |= {"uncertainty": calibration_figure(found)} if found else {}
    clusters = evaluation.clusters
    if clusters is not None and clusters.quantity in evaluation.errors:
        unit, overall = evaluation.units()[clusters.quantity], evaluation.errors[clusters.quantity].rmse
        drawn["clusters"] = cluster_figure(clusters, unit, overall)
    return drawn


def _error_panel(samples: Samples) -> Panel:
    quantity = samples.quantity
    return Panel(spoken(quantity.name), quantity.unit, samples.reference, samples.predicted, _note(samples))


def _parity_panel(samples: Samples, frames: Sequence[AtomicData]) -> Panel:
    """In the field's own unit, which is the one to read absolute values in; energies relative to a fit per element."""
    row = field_table.field(samples.quantity.field)
    reference, predicted = samples.reference / samples.quantity.factor, samples.predicted / samples.quantity.factor
    if row.name != "energy":
        return Panel(spoken(row.name), row.unit, reference, predicted, _note(samples))
    baseline = composition_baseline(frames, reference[:, 0])[:, None]
    title = "energy beyond a fit per element"
    return Panel(title, row.unit, reference - baseline, predicted - baseline, _note(samples))


def composition_baseline(frames: Sequence[AtomicData], energies: np.ndarray) -> np.ndarray:
    """The part of energies (B,) that a least-squares sum over elements explains, (B,); NaN energies are left out.

    Total energies of different compositions differ by far more than anything of interest; for one composition this is
    their mean.
    """
    elements = sorted({int(z) for frame in frames for z in frame.numbers})
    counts = np.asarray([[(frame.numbers == z).sum().item() for z in elements] for frame in frames], dtype=float)
    known = np.isfinite(energies)
    per_element, *_ = np.linalg.lstsq(counts[known], energies[known], rcond=None)
    return counts @ per_element


def _note(samples: Samples) -> str:
    errors, unit = samples.errors(), samples.quantity.unit
    return f"MAE {number(errors.mae)} {unit}\nRMSE {number(errors.rmse)} {unit}" if errors else ""


def write_report(evaluation: Evaluation, folder: str | Path, *, predictions: bool = True) -> dict[str, Path]:
    """Writes ``NAME.json``, ``NAME.md``, ``NAME_parity.png``, ``NAME_errors.png`` and ``NAME_predictions.extxyz``.

    For models with uncertainties also ``NAME_uncertainty.png``, and with clusters ``NAME_clusters.png``.

    Args:
        evaluation: What to write.
        folder: Is made.
        predictions: Whether to write the structures too.

    Returns:
        What was written, by kind.
    """
    folder = Path(folder).expanduser()
    files = {"json": folder / f"{evaluation.name}.json", "markdown": folder / f"{evaluation.name}.md"}
    texts = {"json": json.dumps(to_dict(evaluation), indent=1, ensure_ascii=False), "markdown": markdown(evaluation)}
    for kind, path in files.items():
        with replacing(path) as temporary:
            temporary.write_text(texts[kind], encoding="utf-8")
    for kind, figure in figures(evaluation).items():
        files[kind] = save_figure(figure, folder / f"{evaluation.name}_{kind}.png")
    if predictions:
        path = folder / f"{evaluation.name}_predictions.extxyz"
        files["predictions"] = write_predictions(path, evaluation.frames, evaluation.predictions)
    return files


def write_predictions(path: str | Path, frames: Sequence[AtomicData], predictions: Sequence[Prediction]) -> Path:
    """Structures as extxyz: labels under their plain names as before, predictions with ``predicted_`` before them."""
    images = [predicted_atoms(frame, prediction) for frame, prediction in zip(frames, predictions, strict=True)]
    with replacing(path) as temporary:
        write(temporary, images, format="extxyz")
    return Path(path)


def predicted_atoms(frame: AtomicData, prediction: Prediction) -> Atoms:
    """One structure with its labels and the predictions."""
    atoms = to_atoms(frame)
    for name, value in (prediction.labels | prediction.uncertainties).items():
        if field_table.field(name).level == "atom":
            atoms.arrays[PREFIX + name] = columns(np.asarray(value))
        else:
            atoms.info[PREFIX + name] = value if np.ndim(value) else float(value)
    atoms.info.update({f"{PREFIX}energy_{name}": value for name, value in prediction.terms.items()})
    return atoms
