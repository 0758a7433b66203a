"""What the commands that use a trained model share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, Literal, cast

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from eqff.config import settings
from eqff.data.reading import read_frames
from eqff.devices import choose_device
from eqff.errors import ConfigError
from eqff.outputs import require_writable
from eqff.outside import Outside
from eqff.potential import Potential
from eqff.ranges import Count
from eqff.uncertainty.loading import load
from eqff.validation import check_arguments


@dataclass(frozen=True)
class ModelSettings:
    """Which trained model a command uses, and how.

    Attributes:
        model: Run folder, model file, name of a pretrained model or hf://owner/repo, or a list of them for an ensemble;
            None where a calculator takes its place.
        device: "auto", "cpu", "cuda", "cuda:1"...
        dtype: Of weights and features; None for that of the file.
        packages: Your own packages whose parts the file may use.
        trust_code: Whether a model compiled ahead of time, which is machine code, may run.
        calculator: An ASE calculator in place of a model, see `eqff.interfaces.calculators.Spec`.
        base: The method that was subtracted from the labels of a model, to be added again, likewise.
    """

    model: str | Sequence[str] | None
    device: str = "auto"
    dtype: Literal["float32", "float64"] | None = None
    packages: Sequence[str] = field(default_factory=tuple)
    trust_code: bool = False
    calculator: str | Mapping[str, Any] | None = None
    base: str | Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(ModelSettings):
    """What the command evaluate takes.

    Attributes:
        data: Arguments of `eqff.data.reading.read_frames`.
        output: Folder for results.
        name: Of the set; None for that of the file.
        predictions: Whether predictions are written beside labels.
        batch_size: Structures at a time.
        outside: What happens on charge and spin states that training had not; None for the model's own rule.
        clusters: In how many clusters of structures that the model sees as alike errors are shown; None for none.

    Raises:
        ConfigError: Something in ``data`` is unknown or of a wrong type, nothing can be written at ``output``, or
            clusters are asked for of a calculator.
    """

    data: Mapping[str, Any]
    output: str
    name: str | None = None
    predictions: bool = True
    batch_size: Count = 32
    outside: Outside | None = None
    clusters: Count | None = None

    def __post_init__(self) -> None:
        check_arguments(read_frames, self.data, "data")
        require_writable(self.output)
        if self.calculator is not None and self.clusters is not None:
            raise ConfigError("clusters: they are made of features that models learn, which a calculator has not.")


def plain_settings(cfg: DictConfig) -> dict[str, Any]:
    """A composed config as plain values, interpolations resolved.

    Raises:
        MissingMandatoryValue: Something that must be given is not.
    """
    return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True))


def load_for_command(values: Mapping[str, Any]) -> Potential:
    """The model that a command's settings `ModelSettings` name, with its base, or the calculator in its place.

    Raises:
        ConfigError: A dtype or device that there is not, or a calculator that can't be made; none or both are named.
        ModelError: The model can't be loaded, or the base is not its own.
    """
    names = [item.name for item in fields(ModelSettings)]
    chosen = settings(ModelSettings, {name: values[name] for name in names if name in values}, "")
    _require_one(chosen)
    if chosen.calculator is not None:
        from eqff.interfaces.calculator_energy import calculator_potential
        from eqff.interfaces.calculators import build_calculator

        return calculator_potential(build_calculator(chosen.calculator, chosen.packages))
    potential = load(
        chosen.model,
        dtype=getattr(torch, chosen.dtype) if chosen.dtype else None,
        device=choose_device(chosen.device),
        packages=tuple(chosen.packages),
        trust_code=chosen.trust_code,
    )
    if chosen.base is None:
        return potential
    from eqff.interfaces.calculators import build_calculator
    from eqff.interfaces.delta import with_base

    return with_base(potential, build_calculator(chosen.base, chosen.packages))


def _require_one(chosen: ModelSettings) -> None:
    """Raises ConfigError unless a model or a calculator is named, and a base only with a model."""
    if chosen.model is None and chosen.calculator is None:
        raise ConfigError("model is missing: give it as model=..., or an ASE calculator as calculator=...")
    if chosen.calculator is not None and (chosen.model is not None or chosen.base is not None):
        raise ConfigError("calculator=... stands in place of a model and its base: leave out model=... and base=...")


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal while the block runs; yields the function that is told how many more are done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)
