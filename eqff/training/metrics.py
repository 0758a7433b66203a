"""Errors of predictions over many batches, summed as they come and unit-converted at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from eqff.evaluation.quantities import Quantity, quantities
from eqff.training.losses import masked_difference

Reduce = Callable[[Tensor], Tensor]


class ErrorSums:
    """Mean absolute and root mean square errors, over components of known labels.

    Args:
        fields: Names of the labels.
    """

    def __init__(self, fields: Sequence[str]):
        self.shown: tuple[Quantity, ...] = tuple(quantity for name in fields for quantity in quantities(name))
        self._sums: dict[str, Tensor] = {}

    @property
    def units(self) -> dict[str, str]:
        """Unit of each metric that `compute` gives."""
        return {f"{q.name}_{kind}": q.unit for q in self.shown for kind in ("mae", "rmse")}

    def update(self, prediction: Mapping[str, Tensor], batch: Mapping[str, Tensor], atoms: Tensor) -> None:
        """Adds a batch; nothing is copied off the device.

        Args:
            prediction: What the potential gave.
            batch: Labels under the same names.
            atoms: Number of atoms of each structure, (B,).
        """
        for quantity in self.shown:
            difference, known = masked_difference(prediction[quantity.field].detach(), batch[quantity.field])
            if quantity.per_atom:
                difference = difference / atoms[:, None]
            difference = difference.to(torch.float64)
            count = known.sum() * difference.shape[1]
            sums = torch.stack([difference.abs().sum(), difference.square().sum(), count.to(torch.float64)])
            self._sums[quantity.name] = self._sums.get(quantity.name, 0.0) + sums

    def compute(self, reduce: Reduce = lambda sums: sums) -> dict[str, float]:
        """``NAME_mae`` and ``NAME_rmse`` in shown units, and starts anew. Fields without a known label are left out.

        Args:
            reduce: Sums a tensor over all processes of a parallel run.
        """
        metrics = {}
        for quantity in self.shown:
            if quantity.name not in self._sums:
                continue
            absolute, square, count = reduce(self._sums[quantity.name]).tolist()
            if count:
                metrics[f"{quantity.name}_mae"] = quantity.factor * absolute / count
                metrics[f"{quantity.name}_rmse"] = quantity.factor * (square / count) ** 0.5
        self._sums = {}
        return metrics
