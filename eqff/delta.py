"""The command that subtracts a cheaper method from labels: ``python -m eqff.delta data.path=FILE calculator={...}``."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from eqff.data.differences import FIELDS, difference
from eqff.data.subtraction import Subtracted, subtract_labels, write_differences
from eqff.errors import ConfigError, DataError, ModelError

if TYPE_CHECKING:
    import numpy as np

    from eqff.data.atomic_data import AtomicData
    from eqff.evaluation import Prediction

_SUFFIXES = (".extxyz", ".extxyz.gz")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeltaSettings:
    """What the command takes.

    Attributes:
        data: Arguments of `eqff.data.reading.read_frames`.
        output: File for the differences.
        calculator: The base, see `eqff.interfaces.calculators.Spec`.
        base: ``path`` and ``name`` of labels of the base that are there already.
        packages: Whose code may be called to make the calculator.

    Raises:
        ConfigError: Not one base, or an output that can't be written.
    """

    data: Mapping[str, Any]
    output: str
    calculator: str | Mapping[str, Any] | None = None
    base: Mapping[str, str | None] = field(default_factory=dict)
    packages: Sequence[str] = ()

    def __post_init__(self) -> None:
        from eqff.data.reading import read_frames
        from eqff.outputs import require_writable
        from eqff.validation import check_arguments

        check_arguments(read_frames, self.data, "data")
        if (self.calculator is None) == (self.base.get("path") is None):
            raise ConfigError("Give the base either as calculator=... or as base.path=... with base.name=...")
        if self.base.get("path") is not None and not self.base.get("name"):
            raise ConfigError("base.name is missing: the method of base.path, which the model file will name.")
        if not self.output.endswith(_SUFFIXES):
            raise ConfigError(f"output={self.output} must end in {' or '.join(_SUFFIXES)}.")
        if Path(self.output).expanduser().exists():
            raise ConfigError(f"'{self.output}' is there already. Use it, delete it, or give another output=...")
        require_writable(Path(self.output).parent)


def delta(cfg: DictConfig) -> Subtracted:
    """Subtracts as the config says and writes the file.

    Args:
        cfg: As composed from ``conf/commands/delta.yaml``.

    Raises:
        EqffError: Config, data or base can't be used as they are.
    """
    from eqff.command_line.trained_model import plain_settings
    from eqff.config import settings
    from eqff.data.reading import read_frames

    chosen = settings(DeltaSettings, plain_settings(cfg), "")
    frames = read_frames(**chosen.data)
    if chosen.calculator is None:
        state = {name: chosen.data.get(name) for name in ("total_charge", "multiplicity")}
        found = subtract_labels(frames, read_frames(str(chosen.base["path"]), **state), str(chosen.base["name"]))
    else:
        found = _with_calculator(frames, chosen)
    for line in found.failed:
        _log.warning("Left out: %s", line)
    if not found.frames:
        raise DataError(f"The base gives nothing for any of {len(frames)} structures; the first: {found.failed[0]}")
    write_differences(Path(chosen.output).expanduser(), found)
    return found


def _with_calculator(frames: Sequence[AtomicData], chosen: DeltaSettings) -> Subtracted:
    """Differences to a calculator; structures on which it fails are left out."""
    from eqff.command_line.trained_model import progress_bar
    from eqff.interfaces.calculator_energy import calculator_potential
    from eqff.interfaces.calculators import build_calculator

    given = build_calculator(chosen.calculator, chosen.packages)
    potential = calculator_potential(given)
    made, base, failed = [], [], []
    with progress_bar("structures", len(frames)) as progress:
        for frame in frames:
            try:
                labels = _labels(potential, frame)
            except ModelError as error:
                failed.append(str(error))
            else:
                made.append(difference(frame, labels, given.name or given.title))
                base.append(labels)
            progress(1)
    return Subtracted(made, base, given.name or given.title, tuple(failed))


def _labels(potential: Any, frame: AtomicData) -> Mapping[str, np.ndarray]:
    from eqff.evaluation import predict

    wanted = {"energy", "forces", *(name for name in FIELDS if frame.has(name))}
    found: list[Prediction] = predict(potential, [frame], labels=[name for name in FIELDS if name in wanted])
    return found[0].labels


def _from_command_line(cfg: DictConfig) -> None:
    from rich.console import Console

    found = delta(cfg)
    text = f"{cfg.output}: {len(found.frames)} structures, labels minus {found.name}"
    lost = f"; {len(found.failed)} left out" if found.failed else ""
    Console().print(text + lost, soft_wrap=True, highlight=False, markup=False)


def main() -> None:
    """The command."""
    from eqff.command_line.run import run_command

    run_command(_from_command_line, "delta", folder="commands")


if __name__ == "__main__":
    main()
