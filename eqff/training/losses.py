"""The weighted sum of the losses of several fields, and whether model and labels give what they ask for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from eqff.config import settings
from eqff.errors import ConfigError
from eqff.training.field_loss import FieldLoss

Reduce = Callable[[Tensor], Tensor]
"""Sums a tensor over all processes."""

STRAINED = ("stress", "virial")
"""Fields that need the energy differentiated by a strain."""

DERIVATIVES = ("forces", *STRAINED)
"""Fields that need the energy differentiated."""


class Losses:
    """The weighted sum of the losses of several fields.

    Args:
        terms: One for each field.

    Raises:
        ConfigError: There is none.
    """

    def __init__(self, terms: Sequence[FieldLoss]):
        if not terms:
            raise ConfigError("training.losses is empty: give at least one field, for example training.losses.energy.")
        self.terms = tuple(terms)
        self.derivatives = any(term.field in DERIVATIVES for term in terms)
        self.stress = any(term.field in STRAINED for term in terms)

    @classmethod
    def from_config(cls, config: Mapping[str, Mapping[str, Any] | None]) -> Losses:
        """From ``training.losses``: settings of `FieldLoss` by field; a field set to null is left out."""
        terms = [
            settings(FieldLoss, values, f"training.losses.{name}", given={"field": name})
            for name, values in config.items()
            if values is not None
        ]
        return cls(terms)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields that have a loss."""
        return tuple(term.field for term in self.terms)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels that they are compared with, each once."""
        return tuple(dict.fromkeys(term.label for term in self.terms))

    @property
    def judgement(self) -> str:
        """What validation losses of two trainings must have in common to be compared: all but first-stage weights."""
        return json.dumps([asdict(term) | {"weight": term.weights[True], "second_weight": None} for term in self.terms])

    def __call__(
        self, prediction: Mapping[str, Tensor], batch: Mapping[str, Tensor], atoms: Tensor, second_stage: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The total loss and the unweighted loss of each field.

        Args:
            prediction: What the potential gave.
            batch: Holds the labels under the same names.
            atoms: Number of atoms of each structure, (B,).
            second_stage: Whether the weights of the second stage hold.
        """
        parts = {term.field: term(prediction[term.field], batch[term.label], atoms) for term in self.terms}
        return self.weighted(parts, second_stage), parts

    def share(
        self,
        prediction: Mapping[str, Tensor],
        batch: Mapping[str, Tensor],
        atoms: Tensor,
        second_stage: bool,
        reduce: Reduce,
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The loss of a batch of which every process has a share.

        Each field's errors are summed and then divided by the number of known labels of the *whole* batch. The mean
        over processes of their own means would be something else as soon as these numbers differ. Arguments as for
        `__call__`, of this process's share, and:

        Args:
            reduce: Sums a tensor over all processes; called once.

        Returns:
            This process's part of the loss, to be differentiated: over all processes it sums up to the loss of the
            whole batch. Without gradient: that loss, and the unweighted loss of each of its fields.
        """
        sums = [term.sums(prediction[term.field], batch[term.label], atoms) for term in self.terms]
        own = torch.stack([part.detach().double() for pair in sums for part in pair])
        totals, counts = reduce(own).reshape(-1, 2).unbind(dim=1)
        counts = counts.clamp(min=1)
        names = self.fields
        own_parts = {n: total / count.to(total.dtype) for n, (total, _), count in zip(names, sums, counts, strict=True)}
        parts = dict(zip(names, (totals / counts).unbind(), strict=True))
        return self.weighted(own_parts, second_stage), self.weighted(parts, second_stage), parts

    def weighted(self, parts: Mapping[str, Tensor], second_stage: bool) -> Tensor:
        """The sum of the losses of fields with the weights of a stage."""
        return sum(term.weights[second_stage] * parts[term.field] for term in self.terms)

    def check_stages(self, second_stage: float | None) -> None:
        """Raises ConfigError for a second weight without a second stage: validation would judge by what is not trained.

        Args:
            second_stage: ``training.second_stage``.
        """
        for term in self.terms:
            if second_stage is None and term.second_weight not in (None, term.weight):
                raise ConfigError(
                    f"training.losses.{term.field}.second_weight={term.second_weight:g} would never hold: there is no "
                    "second stage. Say when it begins, as training.second_stage=0.75, or leave the second weight out."
                )

    def check_model(self, predicts: Sequence[str], per_pass: Mapping[str, int] | None = None) -> None:
        """Raises ConfigError when a loss asks for a field that the model doesn't predict.

        Args:
            predicts: `Potential.predicts`.
            per_pass: `Potential.per_pass`.
        """
        per_pass = per_pass or {}
        for term in self.terms:
            name = term.field
            if term.per_pass:
                _check_passes(term, per_pass)
            else:
                require_predicted(
                    name, predicts, f"training.losses.{name}", f"Or leave the loss out: training.losses.{name}=null"
                )

    def check_labels(self, counts: Mapping[str, int], frames: int) -> None:
        """Raises ConfigError when a loss asks for a label that no training frame has.

        Args:
            counts: On how many training frames each label is known.
            frames: How many there are.
        """
        for term in self.terms:
            name, key = term.label, term.field
            if not counts.get(name):
                found = ", ".join(f"{label} ({count})" for label, count in sorted(counts.items()) if count) or "none"
                raise ConfigError(
                    f"training.losses.{key}: none of the {frames} training frames has '{name}'. Labels found, and on "
                    f"how many frames: {found}. If the file has it under another name, give data.keys.THAT_NAME={name}"
                    f"; if not, leave the loss out: training.losses.{key}=null"
                )

    def unused(self, counts: Mapping[str, int]) -> list[str]:
        """A line if energies are trained and forces, which frames have, are not; whoever chose a group of losses for
        another field may not know that it replaces the default ones.

        Args:
            counts: On how many training frames each label is known.
        """
        frames = counts.get("forces", 0)
        if not frames or "energy" not in self.fields or "forces" in self.fields:
            return []
        return [f"{frames} training frames have forces, on which there is no loss: training.losses.forces.weight=10."]


def require_predicted(name: str, predicts: Sequence[str], place: str, otherwise: str) -> None:
    """Raises ConfigError if a model doesn't predict a field.

    Args:
        name: Of the field.
        predicts: `Potential.predicts`.
        place: The setting that asks for it.
        otherwise: What can be done about it, besides adding a part.
    """
    if name not in predicts:
        from eqff.providers import remedy  # looks through configs

        raise ConfigError(
            f"{place}: the model has no part that predicts '{name}'; it predicts {', '.join(predicts)}. {remedy(name)} "
            f"{otherwise}"
        )


def _check_passes(term: FieldLoss, per_pass: Mapping[str, int]) -> None:
    place = f"training.losses.{term.field}"
    if term.field not in per_pass:
        raise ConfigError(
            f"{place}: no exchange of the model writes '{term.label}' after its passes; such fields are "
            f"{', '.join(per_pass) or 'none here'}. Add one, as '+exchange@model.exchanges.nse="
            f"neutral_spin_equilibration', or leave it out: {place}=null"
        )
    given, passes = term.pass_weights, per_pass[term.field]
    if given is not None and len(given) != passes:
        raise ConfigError(f"{place}.pass_weights has {len(given)} numbers, but the model has {passes} passes.")
