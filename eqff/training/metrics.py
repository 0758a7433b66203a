"""Errors of predictions over many batches, summed as they come and unit-converted at the end."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from eqff.evaluation.quantities import Quantity, quantities
from eqff.training.field_loss import masked_difference
from eqff.training.losses import Losses, Reduce


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

    def names(self, labels: Collection[str] | None = None) -> list[str]:
        """Of the metrics that `compute` gives where only these labels are known; None for all."""
        shown = [quantity for quantity in self.shown if labels is None or quantity.field in labels]
        return [f"{quantity.name}_{kind}" for quantity in shown for kind in ("mae", "rmse")]

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
            reduce: Sums a tensor over all processes of a parallel run; called once, also by one that saw no batch.
        """
        sums = [self._sums.get(q.name, torch.zeros(3, dtype=torch.float64)) for q in self.shown]
        self._sums = {}
        if not sums:
            return {}
        metrics = {}
        for quantity, (absolute, square, count) in zip(self.shown, reduce(torch.stack(sums)).tolist(), strict=True):
            if count:
                metrics[f"{quantity.name}_mae"] = quantity.factor * absolute / count
                metrics[f"{quantity.name}_rmse"] = quantity.factor * (square / count) ** 0.5
        return metrics


class LossSums:
    """The loss of a whole set, as if it were one batch: the same for any size of batches and number of processes.

    Args:
        losses: Whose weights of the second stage hold, so that values are comparable all along.
    """

    def __init__(self, losses: Losses):
        self.losses = losses
        self._sums: list[Tensor] = []

    def update(self, prediction: Mapping[str, Tensor], batch: Mapping[str, Tensor], atoms: Tensor) -> None:
        """Adds a batch; arguments as for `ErrorSums.update`."""
        pairs = [term.sums(prediction[term.field], batch[term.label], atoms) for term in self.losses.terms]
        self._sums.append(torch.stack([value.detach().double() for pair in pairs for value in pair]).reshape(-1, 2))

    def each(self) -> Tensor:
        """The loss of each batch of this process since the last `compute`, (batches,)."""
        return torch.stack([self._loss(sums) for sums in self._sums])

    def compute(self, reduce: Reduce = lambda sums: sums) -> Tensor:
        """The loss, a scalar, and starts anew.

        Args:
            reduce: Sums a tensor over all processes; each must have seen a batch.
        """
        sums, self._sums = torch.stack(self._sums).sum(dim=0), []
        return self._loss(reduce(sums))

    def _loss(self, sums: Tensor) -> Tensor:
        totals, counts = sums.unbind(dim=1)
        parts = dict(zip(self.losses.fields, (totals / counts.clamp(min=1)).unbind(), strict=True))
        return self.losses.weighted(parts, second_stage=True)
