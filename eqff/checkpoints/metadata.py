"""What a model file says about its model besides the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ase.data import chemical_symbols

from eqff.build import ModelContext
from eqff.checkpoints.plain import plain
from eqff.checkpoints.upgrades import FORMAT_VERSION
from eqff.data import fields as table
from eqff.errors import ConfigError, ModelFileError
from eqff.potential import Potential

DTYPES = ("float32", "float64")


def eqff_version() -> str:
    """The installed eqff's version, "unknown" where it runs without being installed."""
    try:
        return version("eqff")
    except PackageNotFoundError:
        return "unknown"


@dataclass(frozen=True)
class ModelMetadata:
    """Everything needed to rebuild and use a model, and where it came from.

    Attributes:
        model_config: The ``model`` config group it is built from.
        context: What it took from its training data (`ModelContext`).
        dtype: "float32" or "float64".
        neighbour_lists: Name and cutoff in Å; None stands for all pairs of open structures.
        fields: Each label it predicts: unit, level and meaning.
        training: What whoever saved it knew: ``data_hash``, ``states`` (see `eqff.evaluation.states`), ``metrics``...
        eqff_version: That wrote it.
        created: UTC time in ISO format.
        format_version: Of the file.
    """

    model_config: dict[str, Any]
    context: dict[str, Any]
    dtype: str
    neighbour_lists: dict[str, float | None]
    fields: dict[str, dict[str, Any]]
    training: dict[str, Any] = field(default_factory=dict)
    eqff_version: str = field(default_factory=eqff_version)
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    format_version: int = FORMAT_VERSION

    @classmethod
    def of(
        cls, potential: Potential, model_config: Mapping[str, Any], context: ModelContext, training: Mapping[str, Any]
    ) -> ModelMetadata:
        """The metadata of a potential that is about to be saved."""
        fields = {name: table.field(name) for name in potential.predicts}
        return cls(
            model_config=plain(model_config),
            context=plain(context.to_dict()),
            dtype=str(potential.dtype).removeprefix("torch."),
            neighbour_lists={n: None if c == float("inf") else c for n, c in potential.neighbour_lists.items()},
            fields={name: {"unit": f.unit, "level": f.level, "meaning": f.meaning} for name, f in fields.items()},
            training=plain(training),
        )

    @classmethod
    def from_dict(cls, header: Mapping[str, Any], place: str) -> ModelMetadata:
        """Metadata read from a file of today's format.

        Args:
            header: Plain values.
            place: The file, for messages.

        Raises:
            ModelFileError: An entry is missing, or holds what it can't.
        """
        for name, kind in _ENTRIES.items():
            if name not in header:
                raise ModelFileError(f"{place} lacks the entry '{name}' in its metadata: it is damaged or not eqff's.")
            if not isinstance(header[name], kind):
                raise ModelFileError(f"{place}: the entry '{name}' of its metadata is no {kind.__name__}.")
        if header["dtype"] not in DTYPES:
            raise ModelFileError(f"{place}: dtype '{header['dtype']}' is none of {', '.join(DTYPES)}.")
        _check_context(header["context"], place)
        _check_states(header["training"], place)
        return cls(**{name: header[name] for name in _ENTRIES})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def model_context(self) -> ModelContext:
        """The context to rebuild the model with."""
        return ModelContext.from_dict(self.context)


_ENTRIES: dict[str, type] = {
    "model_config": dict,
    "context": dict,
    "dtype": str,
    "neighbour_lists": dict,
    "fields": dict,
    "training": dict,
    "eqff_version": str,
    "created": str,
    "format_version": int,
}


def _check_context(context: Mapping[str, Any], place: str) -> None:
    """Refuses elements that don't exist and numbers that are none, before anything is sized by them."""
    try:
        read = ModelContext.from_dict(context)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, ConfigError) as error:
        raise ModelFileError(f"{place}: the context in its metadata can't be read ({error!r}).") from error
    highest = len(chemical_symbols) - 1
    shifts = list(read.level_offsets.values())
    ions = read.charge_reference.ions if read.charge_reference else {}
    numbers = (*read.elements, *read.reference_energies, *ions, *(z for shift in shifts for z in shift))
    wrong = [z for z in numbers if not 1 <= z <= highest]
    if wrong or not read.elements:
        raise ModelFileError(
            f"{place}: its elements {sorted(set(wrong))} are no atomic numbers between 1 and {highest}."
        )
    energies = [*read.reference_energies.values(), *(energy for shift in shifts for energy in shift.values())]
    if not all(math.isfinite(number) for number in (read.energy_scale, read.mean_neighbours, *energies)):
        raise ModelFileError(f"{place}: its reference energies or scales are not finite numbers.")


def _check_states(training: Mapping[str, Any], place: str) -> None:
    """Refuses an account of charge and spin states that evaluation could not read."""
    try:
        counts = [int(row[name]) for row in training.get("states") or [] for name in ("total_charge", "multiplicity")]
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise ModelFileError(
            f"{place}: the charge and spin states in its metadata can't be read ({error!r})."
        ) from error
    if any(abs(count) > 10_000 for count in counts):
        raise ModelFileError(f"{place}: the charge and spin states in its metadata are out of all reason.")
