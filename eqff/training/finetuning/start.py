"""The model that a fine-tuning begins with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from eqff.build import CHARGE_REFERENCE, ModelContext, build_potential
from eqff.data.atomic_data import AtomicData
from eqff.data.differences import require_one_base
from eqff.evaluation.evaluation import evaluate_potential
from eqff.potential import Potential
from eqff.registry.loading import load
from eqff.training.finetuning.energies import Refit, refit, shifted, sloped
from eqff.training.finetuning.freezing import Frozen, freeze
from eqff.training.finetuning.settings import FinetuneSettings
from eqff.training.finetuning.weights import require_matches, take_over


@dataclass(frozen=True)
class Start:
    """How a fine-tuning began; stored in its run folder, so that a resumed run has the same model.

    Attributes:
        model: Where the weights came from.
        taken: One line on what was taken over.
        refit: What was added to energies.
        context: Of the model.
        new_elements: Atomic numbers that the old model lacked.
        tables: Weights with rows of new elements, and the dimensions along which they are.
        notes: What else people should know.
        before: Errors before the first step, as ``SET/QUANTITY_mae`` and so on.
    """

    model: str
    taken: str
    refit: Refit
    context: ModelContext
    new_elements: tuple[int, ...] = ()
    tables: dict[str, tuple[int, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    before: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Start:
        """The inverse of `to_dict`, also after JSON made the keys strings."""
        return cls(
            model=str(data["model"]),
            taken=str(data["taken"]),
            # runs that began before new elements had rows of their own to train hold fewer entries
            refit=Refit.from_dict(data.get("refit", {"shifts": data.get("shifts", {})})),
            context=ModelContext.from_dict(data["context"]),
            new_elements=tuple(data.get("new_elements", ())),
            tables={str(name): tuple(axes) for name, axes in data.get("tables", {}).items()},
            notes=tuple(data.get("notes", ())),
            before=dict(data["before"]),
        )

    def freeze(self, potential: Potential, patterns: Sequence[str]) -> Frozen:
        """Takes parameters whose names match out of training, except for rows of new elements."""
        return freeze(potential, patterns, self.tables, self.new_elements)

    def __str__(self) -> str:
        """Lines for people."""
        return "\n".join(
            line for line in (f"Fine-tuning {self.model}: {self.taken}", str(self.refit), *self.notes) if line
        )


def rehearse_start(
    chosen: FinetuneSettings, model_config: Mapping[str, Any], dtype: torch.dtype, packages: Sequence[str] = ()
) -> None:
    """Takes weights over in a model that is thrown away, so that faults show before data are read.

    Args:
        chosen: What is taken over.
        model_config: The ``model`` group of the new model.
        dtype: Of the weights.
        packages: Whose parts the file may use.

    Raises:
        ConfigError: Patterns that match no weight, or a backbone that doesn't fit.
        ModelFileError: The file can't be read.
    """
    old = load(chosen.model, dtype=dtype, packages=tuple(packages))
    potential = build_potential(model_config, old.metadata.model_context(), dtype)
    take_over(potential, old, chosen.restart)
    # whether something is left to train is seen with the data: rows of new elements are trained wherever they are
    require_matches(chosen.freeze, [name for name, _ in potential.named_parameters()], "finetune.freeze")


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
        DataError: Labels of only one of model and data are differences to a base.
        ModelFileError: The file can't be read.
    """
    old = load(chosen.model, dtype=dtype, packages=tuple(packages))
    past = old.metadata.model_context()
    require_one_base((past.level_of_theory, fresh.level_of_theory), f"'{chosen.model}' and the training set")
    added = tuple(sorted({*fresh.elements} - {*past.elements}))
    context = replace(
        past,
        elements=tuple(sorted({*past.elements, *added})),
        reference_energies=shifted(past.reference_energies, dict.fromkeys(added, 0.0)),
        level_of_theory=fresh.level_of_theory,
        level_offsets={},
    )
    potential = build_potential(model_config, context, dtype)
    transfer = take_over(
        potential, old, chosen.restart, build_potential(model_config, context, dtype) if added else None
    )
    potential.eval()
    moves = chosen.reference_energies == "refit"
    found = refit(potential, frames, fresh.elements if moves else added, charges=moves)
    context = replace(
        context,
        reference_energies=shifted(context.reference_energies, found.shifts),
        charge_reference=sloped(context.charge_reference, found.slope),
    )
    potential = _with_context(potential, model_config, context, dtype)
    tables = dict(transfer.tables)
    return potential, Start(chosen.model, str(transfer), found, context, added, tables, _notes(chosen, fresh))


def _with_context(
    potential: Potential, model_config: Mapping[str, Any], context: ModelContext, dtype: torch.dtype
) -> Potential:
    """The same weights with the reference energies of another context."""
    rebuilt = build_potential(model_config, context, dtype)
    weights = potential.state_dict()
    energies = [n for n in weights if n.endswith("reference.values") or n.startswith(f"terms.{CHARGE_REFERENCE}.")]
    rebuilt.load_state_dict({n: v for n, v in weights.items() if n not in energies}, strict=False)
    return rebuilt


def _notes(chosen: FinetuneSettings, fresh: ModelContext) -> tuple[str, ...]:
    """Settings of the data that a model with a past has no use for."""
    if fresh.charge_reference is None:
        return ()
    return (
        "data.charge_reference is not used: what the total charge adds is the old model's"
        + (", and moves with the elements' energies" if chosen.reference_energies == "refit" else ""),
    )


def errors_before(potential: Potential, sets: Mapping[str, Sequence[AtomicData]]) -> dict[str, float]:
    """Errors on every set but the training set, as `eqff.evaluation.Evaluation.metrics` names them."""
    found: dict[str, float] = {}
    for name, frames in sets.items():
        if name != "train" and len(frames):
            found |= evaluate_potential(potential, frames, name=name).metrics()
    return found
