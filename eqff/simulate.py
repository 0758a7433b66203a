"""The command that runs molecular dynamics: ``python -m eqff.simulate model=RUN structure=FILE``, ``eqff-simulate``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

if TYPE_CHECKING:
    from eqff.potential import Potential
    from eqff.simulation import SimulationResult

_OF_THE_COMMAND = ("model", "output", "device", "dtype", "packages")


def simulate(cfg: DictConfig) -> SimulationResult:
    """Runs what the config says; progress and outcome go to the terminal.

    Args:
        cfg: As composed from ``conf/commands/simulate.yaml``.

    Raises:
        EqffError: Config, model or structure can't be used as they are.
    """
    from eqff.commands import load_for_command, plain_settings

    values = plain_settings(cfg)
    potential = load_for_command(values)
    section = {name: value for name, value in values.items() if name not in _OF_THE_COMMAND}
    return _run(potential, section, values["output"])


def simulate_potential(potential: Potential, section: Mapping[str, Any], folder: str | Path) -> dict[str, Any]:
    """A simulation with a model that is at hand; what came of it, units in the names, numbers rounded for a report.

    Args:
        potential: The model.
        section: Settings as in ``conf/commands/simulate.yaml``; those that have a default may be left out.
        folder: For log, trajectory and figures.
    """
    outcome = _run(potential, section, folder).to_dict()
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in outcome.items()}


def _run(potential: Potential, section: Mapping[str, Any], folder: str | Path) -> SimulationResult:
    from eqff.commands import progress_bar
    from eqff.config import settings
    from eqff.simulation import SimulationSettings, read_structure, run_simulation

    chosen = settings(SimulationSettings, section, "simulate")
    atoms = read_structure(chosen)
    with progress_bar("MD steps", chosen.steps) as progress:
        return run_simulation(potential, atoms, chosen, folder, progress=progress)


def _from_command_line(cfg: DictConfig) -> None:
    from rich.console import Console

    from eqff.errors import ModelError

    result = simulate(cfg)
    console = Console(soft_wrap=True, highlight=False)
    for name, value in result.to_dict().items():
        console.print(f"{name.replace('_', ' ')}: {value:.5g}" if isinstance(value, float) else f"{name}: {value}")
    for kind, path in result.files.items():
        console.print(f"{kind.replace('_', ' ')}: {path}")
    if not result.completed:
        raise ModelError(result.message)


def main() -> None:
    """The command."""
    from eqff.cli import run_command

    run_command(_from_command_line, "simulate", folder="commands")


if __name__ == "__main__":
    main()
