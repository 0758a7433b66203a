"""The section ``finetune`` of a training's config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from eqff.errors import ConfigError
from eqff.ranges import Positive

RATES = ("lr", "adam_lr")
"""Settings of optimizers that are learning rates."""


@dataclass(frozen=True)
class FinetuneSettings:
    """What a training takes over from a trained model, and what of it is trained on.

    Attributes:
        model: Model file or run folder.
        restart: Patterns (``heads.*``) of weights that begin anew.
        freeze: Patterns of weights that stay as they are.
        lr_factor: Of all learning rates.
        reference_energies: "refit": the elements' energies are moved so that the model's errors on the training set
            have no linear trend in composition, as they have at another level of theory; "keep": those of the model,
            and only new elements get theirs in that way.
    """

    model: str
    restart: Sequence[str] = field(default_factory=tuple)
    freeze: Sequence[str] = field(default_factory=tuple)
    reference_energies: Literal["refit", "keep"] = "refit"
    lr_factor: Positive = 0.25

    def optimizer(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Settings of an optimizer with all learning rates multiplied, those of its groups too."""
        unset = [name for name in RATES if name in config and config[name] is None]
        if unset:
            raise ConfigError(
                f"training.optimizer.{unset[0]} is null, so finetune.lr_factor has nothing to multiply: give a number."
            )
        groups = {name: self.optimizer(group) for name, group in (config.get("groups") or {}).items() if group}
        rates = {k: self.lr_factor * v for k, v in config.items() if k in RATES}
        return {**config, **rates} | ({"groups": groups} if groups else {})
