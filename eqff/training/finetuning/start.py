"""The model that a fine-tuning begins with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from eqff.build import ModelContext, build_potential
from eqff.data.atomic_data import AtomicData
from eqff.evaluation.evaluation import evaluate_potential
from eqff.potential import Potential
from eqff.registry.loading import load
from eqff.training.finetuning.energies import composition_errors, shifted
from eqff.training.finetuning.settings import FinetuneSettings
from eqff.training.finetuning.weights import freeze, take_over


@dataclass(frozen=True)
class Start:
    """How a fine-tuning began; stored in its run folder, so that a resumed run has the same model.

    Attributes:
        model: Where the weights came from.
        taken: One line on what was taken over.
        frozen: How many numbers are not trained.
        shifts: What was added to the elements' energies, Z to eV.
        determined: How many combinations of them the new data determine.
        context: Of the model.
        before: Errors before the first step, as ``SET/QUANTITY_mae`` and so on.
    """

    model: str
    taken: str
    frozen: int
    shifts: dict[int, float]
    determined: int
    context: ModelContext
    before: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Start:
        """The inverse of `to_dict`, also after JSON made the keys strings."""
        shifts = {int(z): float(energy) for z, energy in data["shifts"].items()}
        return cls(**{**data, "shifts": shifts, "context": ModelContext.from_dict(data["context"])})

    def __str__(self) -> str:
        """Lines for people."""
        text = f"Fine-tuning {self.model}: {self.taken}"
        if self.frozen:
            text += f"; {self.frozen:,} weights frozen"
        if self.shifts:
            largest = max(self.shifts.values(), key=abs)
            text += f"\nEnergies of {len(self.shifts)} elements moved to the new data's, by up to {largest:+.4g} eV"
        if self.determined < len(self.shifts):
            text += (
                f"; only {self.determined} of {len(self.shifts)} combinations of them are determined, so energies of "
                "molecules of other compositions mean nothing from now on"
            )
        return text


def rehearse_start(
    chosen: FinetuneSettings, model_config: Mapping[str, Any], dtype: torch.dtype, packages: Sequence[str] = ()
) -> None:
    """Takes weights over and freezes them in a model that is thrown away, so that faults show before data are read.

    Args:
        chosen: What is taken over.
        model_config: The ``model`` group of the new model.
        dtype: Of the weights.
        packages: Whose parts the file may use.

    Raises:
        ConfigError: Patterns that match no weight, nothing left to train, or a backbone that doesn't fit.
        ModelFileError: The file can't be read.
    """
    old = load(chosen.model, dtype=dtype, packages=tuple(packages))
    potential = build_potential(model_config, old.metadata.model_context(), dtype)
    take_over(potential, old, chosen.restart)
    freeze(potential, chosen.freeze)


def begin(
    chosen: FinetuneSettings,
    model_config: Mapping[str, Any],
    fresh: ModelContext,
    frames: Sequence[AtomicData],
    dtype: torch.dtype,
    packages: Sequence[str] = (),
) -> tuple[Potential, Start]:
    """A model with the weights of a trained one, for new data.

    Scales (of energies, of numbers of neighbours) are those that the weights were trained with. It covers the elements
    of both, and its energies are on the new data's level of theory.

    Args:
        chosen: What is taken over.
        model_config: The ``model`` group of the new model.
        fresh: What a model without a past would take from the new data.
        frames: The training set, with neighbour lists or without.
        dtype: Of the weights.
        packages: Whose parts the file may use.

    Raises:
        ConfigError: Patterns or structures that don't fit.
        ModelFileError: The file can't be read.
    """
    old = load(chosen.model, dtype=dtype, packages=tuple(packages))
    past = old.metadata.model_context()
    context = replace(
        past,
        elements=tuple(sorted({*past.elements, *fresh.elements})),
        reference_energies=shifted(past.reference_energies, dict.fromkeys(fresh.elements, 0.0)),
        level_of_theory=fresh.level_of_theory,
        level_offsets={},
    )
    potential = build_potential(model_config, context, dtype)
    transfer = take_over(potential, old, chosen.restart)
    potential.eval()
    moved = fresh.elements if chosen.reference_energies == "refit" else sorted({*fresh.elements} - {*past.elements})
    shifts, determined = composition_errors(potential, frames, moved)
    context = replace(context, reference_energies=shifted(context.reference_energies, shifts))
    weights = {name: value for name, value in potential.state_dict().items() if not name.endswith("reference.values")}
    potential = build_potential(model_config, context, dtype)
    potential.load_state_dict(weights, strict=False)
    frozen = freeze(potential, chosen.freeze)
    return potential, Start(chosen.model, str(transfer), frozen, shifts, determined, context)


def errors_before(potential: Potential, sets: Mapping[str, Sequence[AtomicData]]) -> dict[str, float]:
    """Errors on every set but the training set, as `eqff.evaluation.Evaluation.metrics` names them."""
    found: dict[str, float] = {}
    for name, frames in sets.items():
        if name != "train" and len(frames):
            found |= evaluate_potential(potential, frames, name=name).metrics()
    return found
