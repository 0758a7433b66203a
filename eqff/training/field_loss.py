"""The loss of one field: a function of the differences and a weight for each stage; unknown labels are masked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eqff.data import fields as table
from eqff.errors import ConfigError, did_you_mean


def squared(difference: Tensor, delta: float) -> Tensor:
    """Mean square over the components of each row."""
    return difference.square().mean(dim=1)


def absolute(difference: Tensor, delta: float) -> Tensor:
    """Mean absolute value over the components of each row."""
    return difference.abs().mean(dim=1)


def huber(difference: Tensor, delta: float) -> Tensor:
    """Quadratic below ``delta``, linear above [Huber, Ann. Math. Stat. 35, 73 (1964)].

    Divided by ``delta``, so that it tends to the absolute value as delta goes to 0.
    """
    errors = nn.functional.huber_loss(difference, torch.zeros_like(difference), reduction="none", delta=delta)
    return errors.mean(dim=1) / delta


def norm(difference: Tensor, delta: float) -> Tensor:
    """Euclidean length of each row: for vectors the same in every frame of reference."""
    return torch.linalg.vector_norm(difference, dim=1)


FUNCTIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "mse": squared,
    "mae": absolute,
    "huber": huber,
    "l2": norm,
}
"""From differences (M, components) to one error for each row (M,)."""


@dataclass(frozen=True)
class FieldLoss:
    """The loss of one field.

    Attributes:
        field: Name in the fields table; with ``pass_`` before it the values after every pass, which an exchange writes.
        function: One of `FUNCTIONS`: mse, mae, huber (of components) or l2 (length of vectors).
        weight: Factor in the total loss.
        second_weight: Factor in the second stage; None for the same.
        per_atom: Divide differences of a structure's property by its number of atoms.
        delta: Where huber turns linear, in the unit of the (per-atom) field.
        pass_weights: For a ``pass_`` field, the passes' shares in its loss, first pass first; None for equal ones. They
            are divided by their sum.
    """

    field: str
    function: str = "mse"
    weight: float = 1.0
    second_weight: float | None = None
    per_atom: bool = False
    delta: float = 0.01
    pass_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        row = table.field(self.label)
        place = f"training.losses.{self.field}"
        if row.role != "label":
            raise ConfigError(f"{place}: '{self.field}' is no label but {row.role}; a loss needs a label.")
        if self.function not in FUNCTIONS:
            raise ConfigError(f"{place}.function: no '{self.function}'.{did_you_mean(self.function, FUNCTIONS)}")
        if self.per_atom and row.level != "structure":
            raise ConfigError(f"{place}.per_atom: {self.field} is a property of each {row.level} already.")
        if self.delta <= 0 or min(self.weights) < 0 or max(self.weights) == 0:
            raise ConfigError(f"{place}: weights must not be negative or all zero, and delta must be positive.")
        if self.pass_weights is not None:
            if not self.per_pass:
                raise ConfigError(f"{place}.pass_weights: only a field of every pass, as pass_{self.field}, has these.")
            if not self.pass_weights or min(self.pass_weights) < 0 or max(self.pass_weights) == 0:
                raise ConfigError(f"{place}.pass_weights must not be negative or all zero.")

    @property
    def per_pass(self) -> bool:
        """Whether the field holds the values of every pass, (M, passes, ...)."""
        return self.field.startswith(table.PER_PASS)

    @property
    def label(self) -> str:
        """The field that holds what is compared with."""
        return self.field.removeprefix(table.PER_PASS)

    @property
    def weights(self) -> tuple[float, float]:
        """The factors in the first and the second stage."""
        return self.weight, self.weight if self.second_weight is None else self.second_weight

    def sums(self, prediction: Tensor, label: Tensor, atoms: Tensor) -> tuple[Tensor, Tensor]:
        """The sum over all rows whose label is known, and how many these are; two scalars.

        Args:
            prediction: (M, ...); (M, passes, ...) for a field of every pass.
            label: (M, ...); rows with a NaN are left out.
            atoms: Number of atoms of each structure, (B,).
        """
        if not self.per_pass:
            return self._sums(prediction, label, atoms)
        sums, counts = zip(*(self._sums(values, label, atoms) for values in prediction.unbind(dim=1)), strict=True)
        weights = self.pass_weights or (1.0,) * len(sums)
        return sum(w * s for w, s in zip(weights, sums, strict=True)) / sum(weights), counts[0]

    def _sums(self, prediction: Tensor, label: Tensor, atoms: Tensor) -> tuple[Tensor, Tensor]:
        difference, known = masked_difference(prediction, label)
        if self.per_atom:
            difference = difference / atoms[:, None]
        return FUNCTIONS[self.function](difference, self.delta).sum(), known.sum()

    def __call__(self, prediction: Tensor, label: Tensor, atoms: Tensor) -> Tensor:
        """The mean over all rows whose label is known, a scalar; zero where none is. Arguments as for `sums`."""
        total, count = self.sums(prediction, label, atoms)
        return total / count.clamp(min=1)


def masked_difference(prediction: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Prediction minus label as rows (M, components), zero where a label is unknown, and which are known (M,)."""
    label = label.to(prediction.dtype).reshape(label.shape[0], -1)
    known = ~torch.isnan(label).any(dim=1)
    difference = torch.where(known[:, None], prediction.reshape(label.shape) - label, 0.0)
    return difference, known
