"""The command that makes spectra of simulations: ``python -m eqff.spectrum trajectory=FOLDER``, ``eqff-spectrum``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Lt
from omegaconf import DictConfig

from eqff.data.convert import Multiplicity
from eqff.observables.spectra import Correction
from eqff.ranges import Count, Positive

if TYPE_CHECKING:
    from eqff.observables.spectra import Spectrum

_OF_THE_MODEL = ("model", "device", "dtype", "packages", "trust_code")
PEAKS = "peaks.csv"


@dataclass(frozen=True)
class SpectrumSettings:
    """What the command takes besides a model.

    Attributes:
        trajectory: Folder of a simulation, or a file of frames.
        output: Folder for results.
        interval: fs between frames; None for what the simulation's folder says.
        temperature: K of the dynamics; None for the thermostat's.
        discard: Share of the trajectory that is left out at its beginning.
        correlation_time: fs, up to which correlations count.
        correction: Quantum correction factor.
        largest: cm⁻¹, where table and figure end.
        total_charge: e, for frames that state none.
        multiplicity: 2S+1, the same.
        batch_size: Predictions at a time.
    """

    trajectory: str
    output: str
    interval: Positive | None = None
    temperature: Positive | None = None
    discard: Annotated[float, Ge(0), Lt(1)] = 0.0
    correlation_time: Positive = 1000.0
    correction: Correction = "harmonic"
    largest: Positive = 4000.0
    total_charge: float | None = None
    multiplicity: Multiplicity | None = None
    batch_size: Count = 32


def spectrum(cfg: DictConfig) -> dict[str, Path]:
    """Computes spectra as the config says, and writes a table for each, their peaks, and a figure.

    Args:
        cfg: As composed from ``conf/commands/spectrum.yaml``.

    Returns:
        The files by what they are.

    Raises:
        EqffError: Config, model or trajectory can't be used as they are.
    """
    from eqff.command_line.trained_model import load_for_command, plain_settings, progress_bar
    from eqff.config import settings
    from eqff.observables.trajectories import read_trajectory, spectra
    from eqff.outputs import require_writable

    values = plain_settings(cfg)
    section = {name: value for name, value in values.items() if name not in _OF_THE_MODEL}
    chosen = settings(SpectrumSettings, section, "")
    require_writable(chosen.output)
    trajectory = read_trajectory(chosen.trajectory, chosen.interval, chosen.temperature, chosen.discard)
    potential = None if values["model"] is None else load_for_command(values)
    with progress_bar("frames", len(trajectory.frames)) as progress:
        found = spectra(
            trajectory,
            potential,
            correlation_time=chosen.correlation_time,
            correction=chosen.correction,
            total_charge=chosen.total_charge,
            multiplicity=chosen.multiplicity,
            batch_size=chosen.batch_size,
            progress=progress,
        )
    return write_spectra(found, Path(chosen.output).expanduser(), chosen.largest)


def write_spectra(found: Mapping[str, Spectrum], folder: Path, largest: float) -> dict[str, Path]:
    """Tables ``infrared.csv`` and ``raman.csv``, ``peaks.csv``, and the figure ``spectrum.png``; units in the columns.

    Args:
        found: By name.
        folder: Is made.
        largest: cm⁻¹, where they end.
    """
    from eqff.observables.tables import write_csv
    from eqff.tracking.plots import save_figure

    folder.mkdir(parents=True, exist_ok=True)
    files, peaks = {}, []
    for name, each in found.items():
        inside = each.wavenumbers <= largest
        column = f"intensity ({each.unit})"
        pairs = zip(each.wavenumbers[inside].tolist(), each.intensity[inside].tolist(), strict=True)
        rows = [{"wavenumber (cm⁻¹)": position, column: value} for position, value in pairs]
        files[name] = write_csv(folder / f"{name}.csv", rows)
        half = 1.5 * each.resolution
        peaks += [
            {
                "spectrum": name,
                "wavenumber (cm⁻¹)": round(position, 1),
                "height": height,
                "band within 1.5 resolutions": each.band(position - half, position + half),
                "resolution (cm⁻¹)": round(each.resolution, 1),
            }
            for position, height in each.peaks()
            if position <= largest
        ]
    files["peaks"] = write_csv(folder / PEAKS, peaks)
    files["figure"] = save_figure(_figure(found, largest), folder / "spectrum.png")
    return files


def _figure(found: Mapping[str, Spectrum], largest: float) -> object:
    from matplotlib.figure import Figure

    from eqff.tracking.plots import BLUE, styled

    @styled
    def draw() -> Figure:
        figure = Figure(figsize=(7.0, 2.8 * len(found)), layout="constrained")
        for ax, (name, each) in zip(figure.subplots(len(found), 1, squeeze=False)[:, 0], found.items(), strict=True):
            inside = each.wavenumbers <= largest
            ax.plot(each.wavenumbers[inside], each.intensity[inside], color=BLUE)
            ax.set(xlabel="wavenumber (cm⁻¹)", ylabel=each.unit, title=name, xlim=(0, largest))
        return figure

    return draw()


def _from_command_line(cfg: DictConfig) -> None:
    for kind, path in spectrum(cfg).items():
        print(f"{kind}: {path}")


def main() -> None:
    """The command."""
    from eqff.command_line.run import run_command

    run_command(_from_command_line, "spectrum", folder="commands")


if __name__ == "__main__":
    main()
