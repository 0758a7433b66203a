"""The command that compiles a model ahead of time: ``python -m eqff.export model=RUN output=model.pt2``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from omegaconf import DictConfig

if TYPE_CHECKING:
    from eqff.export.exported import ExportedPotential


@dataclass(frozen=True)
class ExportSettings:
    """What the command takes.

    Attributes:
        model: Run folder, model file, name of a pretrained model or hf://owner/repo.
        output: The file.
        dtype: Of the code; None for that of the model.
        packages: Your own packages whose parts the file may use.
    """

    model: str
    output: str
    dtype: Literal["float32", "float64"] | None = None
    packages: Sequence[str] = field(default_factory=tuple)


def export(cfg: DictConfig) -> ExportedPotential:
    """Compiles as the config says.

    Args:
        cfg: As composed from ``conf/commands/export.yaml``.

    Raises:
        EqffError: Config or model can't be used as they are, or the compiler fails.
    """
    from eqff.command_line.trained_model import plain_settings
    from eqff.config import settings
    from eqff.export.export import export_model

    chosen = settings(ExportSettings, plain_settings(cfg), "")
    return export_model(chosen.model, chosen.output, dtype=chosen.dtype, packages=tuple(chosen.packages))


def _from_command_line(cfg: DictConfig) -> None:
    from rich.console import Console

    from eqff.training.quiet import quiet_libraries

    quiet_libraries()
    console = Console(soft_wrap=True, highlight=False)
    console.print("Compiling; this takes minutes.")
    exported = export(cfg)
    beside = ", ".join(exported.beside) or "nothing"
    console.print(f"{cfg.output}: agrees with the model; {beside} runs beside the compiled code.")


def main() -> None:
    """The command."""
    from eqff.command_line.run import run_command

    run_command(_from_command_line, "export", folder="commands")
