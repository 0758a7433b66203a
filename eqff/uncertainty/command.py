"""The command that fits and calibrates uncertainties: ``python -m eqff.uncertainty`` or ``eqff-uncertainty``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

if TYPE_CHECKING:
    from eqff.data.atomic_data import AtomicData
    from eqff.evaluation.calibration import Calibration
    from eqff.uncertainty.thresholds import UsualDoubt


@dataclass(frozen=True)
class Fitted:
    """What the command leaves.

    Attributes:
        path: The file to give as model.
        scales: Factors on the uncertainties of energies and forces.
        scores: On the held-back structures, after calibration, by quantity.
        usual: How uncertain the model is on the held-back structures.
    """

    path: Path
    scales: tuple[float, float]
    scores: dict[str, Calibration]
    usual: UsualDoubt | None


def fit_uncertainty(cfg: DictConfig) -> Fitted:
    """Fits as the config says, and writes the file, ``uncertainty.json`` with the scores, and a figure.

    Args:
        cfg: As composed from ``conf/commands/uncertainty.yaml``.

    Raises:
        EqffError: Config, models or data can't be used as they are.
    """
    from eqff.command_line.trained_model import plain_settings
    from eqff.config import settings
    from eqff.uncertainty.loading import members_of
    from eqff.uncertainty.settings import UncertaintySettings

    values = plain_settings(cfg)
    chosen = settings(UncertaintySettings, values, "")
    models = members_of(chosen.model)
    fitter = _fit_ensemble if isinstance(models, list) else _fit_one
    return fitter(models, chosen)


def _fit_one(model: str | Path, chosen: Any) -> Fitted:
    """The last-layer estimate of one model."""
    from eqff.checkpoints import find_model_file
    from eqff.registry.loading import load
    from eqff.registry.locate import locate
    from eqff.uncertainty.estimate_file import UNCERTAINTY_FILE, save_estimate
    from eqff.uncertainty.fitting import fit_last_layer

    located = locate(model)
    path = find_model_file(located.path)
    folder = _folder_of_estimate(model, path, chosen.output, shared=located.entry is not None or "://" in str(model))
    training, held_back = _sets(path, chosen)
    potential = load(model, **chosen.of_loading())
    seen = _at_most(training, chosen.max_training)
    estimate = fit_last_layer(potential, seen, held_back, samples=chosen.samples, batch_size=chosen.batch_size)
    file = save_estimate(folder / UNCERTAINTY_FILE, estimate, path)
    return _report(file, estimate, estimate.posterior.scales, held_back, chosen.batch_size)


def _folder_of_estimate(model: str | Path, path: Path, output: str | None, shared: bool) -> Path:
    """Where an estimate goes: the folder asked for, else that of the model's file, unless others use that too."""
    from eqff.errors import ConfigError

    if output is None and shared:
        raise ConfigError(
            f"output is missing: '{model}' lies where other models do, so give a folder, output=runs/doubt."
        )
    return path.parent if output is None else Path(output).expanduser()


def _fit_ensemble(models: Sequence[str | Path], chosen: Any) -> Fitted:
    """A calibrated ensemble."""
    from eqff.errors import ConfigError
    from eqff.uncertainty.calibrating import calibrated
    from eqff.uncertainty.ensemble import Ensemble
    from eqff.uncertainty.ensemble_file import ENSEMBLE_FILE, save_ensemble
    from eqff.uncertainty.run_sets import require_one_split

    if chosen.output is None:
        raise ConfigError("output is missing: give the folder for the ensemble's file, output=runs/ensemble.")
    if chosen.data.get("held_back") is None:
        require_one_split(models)
    raw = Ensemble.load(models, trust_code=chosen.trust_code, **chosen.of_loading())
    _, held_back = _sets(models[0], chosen, with_training=False)
    ensemble = calibrated(raw, held_back, chosen.batch_size)
    file = save_ensemble(Path(chosen.output).expanduser() / ENSEMBLE_FILE, ensemble, models)
    return _report(file, ensemble, ensemble.scales, held_back, chosen.batch_size)


def _sets(
    model: str | Path, chosen: Any, with_training: bool = True
) -> tuple[Sequence[AtomicData], Sequence[AtomicData]]:
    """Training and held-back structures, from the files named or as the run's config says."""
    from eqff.data.reading import read_frames
    from eqff.uncertainty.run_sets import sets_of_run

    data = dict(chosen.data)
    files = {"training": data.pop("training"), "held_back": data.pop("held_back")}
    if not with_training:
        files["training"] = files["training"] or ()
    own = dict(zip(files, sets_of_run(model), strict=True)) if None in files.values() else {}
    found = {name: own[name] if path is None else path and read_frames(path, **data) for name, path in files.items()}
    return found["training"], list(found["held_back"])


def _at_most(frames: Sequence[AtomicData], count: int) -> Sequence[AtomicData]:
    """All structures, or so many of them, drawn with always the same seed."""
    import numpy as np

    if len(frames) <= count:
        return frames
    return [frames[int(i)] for i in np.random.default_rng(0).choice(len(frames), count, replace=False)]


def _report(
    path: Path, model: Any, scales: tuple[float, float], held_back: Sequence[AtomicData], batch_size: int
) -> Fitted:
    """Scores and figure of the fitted model on the held-back structures."""
    from eqff.data.atomic_data import fill_missing_labels
    from eqff.evaluation.calibration import calibrations
    from eqff.evaluation.calibration_figure import calibration_figure
    from eqff.evaluation.levels import on_model_level
    from eqff.evaluation.predictions import predict
    from eqff.simulation.finish import write_json
    from eqff.tracking.plots import save_figure
    from eqff.uncertainty.thresholds import usual_doubt

    held_back, _ = on_model_level(model, held_back)  # notes were told when it was fitted
    fill_missing_labels(held_back)
    predictions = predict(model, held_back, labels=("energy", "forces"), batch_size=batch_size)
    found = calibrations(held_back, predictions)
    if found:
        save_figure(calibration_figure(found), path.with_name("uncertainty_calibration.png"))
    fitted = Fitted(path, scales, {name: score for name, (_, score) in found.items()}, usual_doubt(predictions))
    write_json(path.with_name("uncertainty.json"), _plain(fitted))
    return fitted


def _plain(fitted: Fitted) -> Mapping[str, Any]:
    return {
        "model": fitted.path.name,
        "scales": {"energy": fitted.scales[0], "forces": fitted.scales[1]},
        "held_back": {name: score.to_dict() for name, score in fitted.scores.items()},
        "largest_force_uncertainty": fitted.usual.to_dict() if fitted.usual else None,
    }


def _from_command_line(cfg: DictConfig) -> None:
    from rich.console import Console

    fitted = fit_uncertainty(cfg)
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"Factors on the uncertainties: energy {fitted.scales[0]:.3g}, forces {fitted.scales[1]:.3g}")
    for name, score in fitted.scores.items():
        text = f"miscalibration {score.miscalibration_area:.3f}, rank correlation {score.rank_correlation:.2f}"
        console.print(f"{name.replace('_', ' ')} on held-back structures: {text} ({score.count} numbers)")
    if usual := fitted.usual:
        console.print(
            f"Largest uncertainty of a force in a held-back structure: median {usual.median:.3g}, 99 % below "
            f"{usual.most:.3g}, largest {usual.largest:.3g} eV/Å: a max_uncertainty should be above that."
        )
    console.print(f"Give as model: {fitted.path}")


def main() -> None:
    """The command."""
    from eqff.command_line.run import run_command

    run_command(_from_command_line, "uncertainty", folder="commands")
