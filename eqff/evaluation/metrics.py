"""Errors of predictions against labels: over everything, and over any part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from eqff.data import fields as table
from eqff.data.atomic_data import AtomicData
from eqff.evaluation.predictions import Prediction
from eqff.evaluation.quantities import Quantity


@dataclass(frozen=True)
class Errors:
    """How far predictions are from labels, over components (a force has three), in the quantity's unit.

    Attributes:
        mae: Mean absolute error.
        rmse: Root of the mean squared error.
        max: Largest absolute error.
        bias: Mean of prediction minus label.
        count: Numbers compared.
    """

    mae: float
    rmse: float
    max: float
    bias: float
    count: int

    def to_dict(self) -> dict[str, float]:
        """Plain numbers for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Samples:
    """One quantity over a set of structures: M rows (atoms or structures) of C components.

    Attributes:
        quantity: Which, and its unit.
        reference: (M, C) in the quantity's unit, NaN where there is no label.
        predicted: (M, C).
        frame: To which structure each row belongs, (M,).
        atom: Whether rows are atoms.
    """

    quantity: Quantity
    reference: np.ndarray
    predicted: np.ndarray
    frame: np.ndarray
    atom: bool

    @property
    def labelled(self) -> int:
        """Structures with at least one known label."""
        return len(np.unique(self.frame[np.isfinite(self.reference).any(axis=1)]))

    def errors(self, rows: np.ndarray | None = None) -> Errors | None:
        """Errors over the given rows ((M,) bool; all by default), None if none of them has a label."""
        reference, predicted = self.reference, self.predicted
        if rows is not None:
            reference, predicted = reference[rows], predicted[rows]
        known = np.isfinite(reference)
        if not known.any():
            return None
        # a prediction that is not finite stays in: the error is then not finite either, and seen
        difference = predicted[known] - reference[known]
        return Errors(
            mae=float(np.abs(difference).mean()),
            rmse=float(np.sqrt((difference**2).mean())),
            max=float(np.abs(difference).max()),
            bias=float(difference.mean()),
            count=int(known.sum()),
        )


def collect(quantity: Quantity, frames: Sequence[AtomicData], predictions: Sequence[Prediction]) -> Samples:
    """Labels and predictions of one quantity; every frame must have the label's field, NaN where it is not known."""
    atom = table.field(quantity.field).level == "atom"
    scale = [quantity.factor / (frame.num_nodes if quantity.per_atom else 1) for frame in frames]
    rows = [frame.num_nodes if atom else 1 for frame in frames]
    reference = [
        s * frame[quantity.field].double().numpy().reshape(n, -1)
        for s, n, frame in zip(scale, rows, frames, strict=True)
    ]
    predicted = [
        s * np.asarray(prediction.labels[quantity.field]).reshape(n, -1)
        for s, n, prediction in zip(scale, rows, predictions, strict=True)
    ]
    return Samples(
        quantity=quantity,
        reference=np.concatenate(reference),
        predicted=np.concatenate(predicted),
        frame=np.repeat(np.arange(len(frames)), rows),
        atom=atom,
    )


def errors_by(samples: Samples, names: np.ndarray) -> dict[str, Errors]:
    """Errors of each part.

    Args:
        samples: The quantity.
        names: To which part each row belongs, (M,) strings.

    Returns:
        By name, in the order of first appearance; parts without labels are left out.
    """
    found = {name: samples.errors(names == name) for name in dict.fromkeys(names.tolist())}
    return {name: errors for name, errors in found.items() if errors is not None}
