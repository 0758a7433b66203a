"""The command that runs simulations: ``python -m eqff.simulate model=RUN structure=FILE``, ``eqff-simulate``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

if TYPE_CHECKING:
    from eqff.potential import Potential
    from eqff.simulation import SimulationResult

_OF_THE_COMMAND = ("model", "base", "output", "device", "dtype", "packages", "trust_code", "resume")
_ORIGIN = ("model", "base", "device", "dtype", "packages")


def simulate(cfg: DictConfig, overrides: Sequence[str] = ()) -> SimulationResult:
    """Runs what the config says; progress and outcome go to the terminal.

    Args:
        cfg: As composed from ``conf/commands/simulate.yaml``.
        overrides: Those that ``cfg`` was composed with; on ``resume`` they are applied to the settings of the old run.

    Raises:
        EqffError: Config, model or structure can't be used as they are.
    """
    if cfg.get("resume") is not None:
        return _resume(str(cfg["resume"]), _changes(cfg, overrides), bool(cfg.get("trust_code")))
    from eqff.command_line.trained_model import load_for_command, plain_settings
    from eqff.config import settings
    from eqff.outputs import require_writable
    from eqff.simulation import SimulationSettings

    values = plain_settings(cfg)
    section = {name: value for name, value in values.items() if name not in _OF_THE_COMMAND}
    settings(SimulationSettings, section, "")  # before the model is loaded
    require_writable(values["output"])
    origin = {name: values[name] for name in _ORIGIN} | {"model": _absolute(values["model"])}
    return _run(load_for_command(values), section, values["output"], origin)


def _absolute(model: str | Sequence[str]) -> str | list[str]:
    """The path of a model, or those of an ensemble's, as they are from anywhere; names stay as they are."""
    from eqff.registry.locate import lasting

    if isinstance(model, str):
        return lasting(model)
    return [lasting(path) for path in model]


def simulate_potential(potential: Potential, section: Mapping[str, Any], folder: str | Path) -> dict[str, Any]:
    """A simulation with a model that is at hand; what came of it, units in the names, numbers rounded for a report.

    Args:
        potential: The model.
        section: Settings as in ``conf/commands/simulate.yaml``; those that have a default may be left out.
        folder: For log, trajectory and figures.
    """
    outcome = _run(potential, section, folder, {}).to_dict()
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in outcome.items()}


def _run(
    potential: Potential, section: Mapping[str, Any], folder: str | Path, origin: Mapping[str, Any]
) -> SimulationResult:
    from eqff.command_line.trained_model import progress_bar
    from eqff.config import settings
    from eqff.simulation import SimulationSettings, read_structure, run_simulation

    chosen = settings(SimulationSettings, section, "simulate")
    atoms = read_structure(chosen)
    with progress_bar("steps", chosen.steps) as progress:
        return run_simulation(potential, atoms, chosen, folder, progress=progress, report=_reporter(), origin=origin)


def _resume(folder: str, changes: Mapping[str, Any], trust_code: bool) -> SimulationResult:
    from eqff.command_line.trained_model import load_for_command, progress_bar
    from eqff.errors import ModelError
    from eqff.simulation import resume_simulation
    from eqff.simulation.simulation import stored_config

    stored = stored_config(folder)
    if "model" not in stored["origin"]:
        raise ModelError(
            f"'{folder}' was run by another program than this command, so it is not known with which model. Go on from "
            "Python: eqff.simulation.resume_simulation(model, folder)."
        )
    if stored["origin"].get("base") and not trust_code:
        raise ModelError(
            f"'{folder}' was run with the base {stored['origin']['base']}, which is code of other packages. If you "
            "trust it, give trust_code=true."
        )
    # trust is never taken from a folder, only from whoever runs this
    potential = load_for_command({**stored["origin"], "trust_code": trust_code})
    total = int(changes.get("steps", stored["settings"]["steps"]))
    with progress_bar("steps", total) as progress:
        return resume_simulation(potential, folder, changes, progress=progress, report=_reporter())


def _changes(cfg: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """The settings that are given beside ``resume``."""
    from eqff.simulation.simulation import check_changes

    names = [text.split("=")[0].lstrip("+~") for text in overrides]
    names = [name for name in names if name not in ("resume", "trust_code") and not name.startswith("hydra")]
    check_changes(names)
    return {name: cfg[name] for name in names}


def _reporter() -> Callable[[str], None]:
    """Lines to stderr, above the bar where there is one."""
    from rich.console import Console

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    return console.print


def _from_command_line(cfg: DictConfig) -> None:
    from hydra.core.hydra_config import HydraConfig
    from rich.console import Console

    from eqff.errors import ModelError
    from eqff.interfaces.memory import keep_freed_memory

    keep_freed_memory()
    overrides = HydraConfig.get().overrides.task if HydraConfig.initialized() else ()
    result = simulate(cfg, overrides)
    console = Console(soft_wrap=True, highlight=False)
    console.print(outcome_table(result))
    for kind, path in result.files.items():
        console.print(f"{kind.replace('_', ' ')}: {path}")
    if result.interrupted:
        print(f"eqff: {result.message}", file=sys.stderr, flush=True)
        sys.exit(130)
    if not result.completed:
        raise ModelError(result.message)


def outcome_table(result: SimulationResult) -> Any:
    """A table of the numbers with their uncertainties, for terminals."""
    from rich.table import Table

    values = result.to_dict()
    table = Table(show_header=False)
    for name, value in values.items():
        if "_uncertainty" in name or name == "completed":
            continue
        error = values.get(_uncertainty_of(name))
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        table.add_row(name.replace("_", " "), text if error is None else f"{text} ± {error:.2g}")
    return table


def _uncertainty_of(name: str) -> str:
    """The name under which a result's uncertainty stands."""
    if name.startswith("mean_"):
        quantity, unit = name.rsplit("_", 1)
        return f"{quantity}_uncertainty_{unit}"
    return name.replace("drift_", "drift_uncertainty_") if name.startswith("drift_") else ""


def main() -> None:
    """The command."""
    from eqff.command_line.run import run_command

    run_command(_from_command_line, "simulate", folder="commands")


if __name__ == "__main__":
    main()
