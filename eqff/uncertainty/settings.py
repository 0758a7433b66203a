"""The settings of the command that fits and calibrates uncertainties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from eqff.command_line.trained_model import ModelSettings
from eqff.data.convert import Multiplicity
from eqff.devices import choose_device
from eqff.outputs import require_writable
from eqff.ranges import Count
from eqff.validation import check_arguments


@dataclass(frozen=True, kw_only=True)
class UncertaintySettings(ModelSettings):
    """What the command takes.

    Attributes:
        data: See `HeldBackData`.
        samples: Drawn last layers for uncertainties of forces.
        max_training: At most so many training structures.
        output: Folder of the file; None for that of the model, where it is one alone.
        batch_size: Structures at a time.

    Raises:
        ConfigError: Something is unknown or of a wrong type, or nothing can be written at ``output``.
    """

    data: Mapping[str, Any] = field(default_factory=dict)
    samples: Count = 32
    max_training: Count = 5000
    output: str | None = None
    batch_size: Count = 32

    def __post_init__(self) -> None:
        check_arguments(HeldBackData, self.data, "data")
        if self.output is not None:
            require_writable(self.output)

    def of_loading(self) -> dict[str, Any]:
        """What `eqff.load` takes."""
        dtype: torch.dtype | None = getattr(torch, self.dtype) if self.dtype else None
        return {"dtype": dtype, "device": choose_device(self.device), "packages": tuple(self.packages)}


@dataclass(frozen=True)
class HeldBackData:
    """The structures: files and how to read them, see `eqff.data.reading.read_frames`.

    Attributes:
        training: What the model was trained on; None for what its run's config says.
        held_back: With labels, not trained on; None for the run's validation set.
        keys: Key of the file to field.
        units: Field to unit of the file.
        total_charge: e, for frames that state none.
        multiplicity: 2S+1, the same.
    """

    training: str | Sequence[str] | None = None
    held_back: str | Sequence[str] | None = None
    keys: Mapping[str, str | None] | None = None
    units: Mapping[str, str] | None = None
    total_charge: float | None = None
    multiplicity: Multiplicity | None = None
