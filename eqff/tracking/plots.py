"""The one style of every figure of eqff: labelled with units, safe for colour-blind readers, without global state; and
curves over the course of a training or simulation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import ParamSpec

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Parameters = ParamSpec("Parameters")

# Okabe and Ito's palette, told apart with any kind of colour vision; black and yellow left out
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
BLUE, VERMILION, GREEN = COLOURS[:3]
GREY = "#666666"
DENSITY_MAP = "cividis"

STYLE = {
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.labelsize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "legend.framealpha": 0.85,
    "legend.edgecolor": "none",
    "legend.fancybox": False,
    "legend.fontsize": 8.0,
    "savefig.dpi": 150,
}


@dataclass(frozen=True)
class Curve:
    """A line in a figure.

    Attributes:
        label: For the legend.
        x: (M,).
        y: (M,); NaN leaves a gap.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]


def styled(draw: Callable[Parameters, Figure]) -> Callable[Parameters, Figure]:
    """Draws in eqff's style and leaves matplotlib's own settings as they were."""

    @wraps(draw)
    def inside(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Figure:
        with rc_context(STYLE):
            return draw(*args, **kwargs)

    return inside


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Writes a figure in the format that the suffix names (png, pdf, svg); folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    with rc_context(STYLE):
        figure.savefig(path)
    return path


@styled
def learning_curves(curves: Mapping[str, Sequence[Curve]], x_label: str, units: Mapping[str, str]) -> Figure:
    """Metrics over the course of a training, a panel per metric, logarithmic where all values are positive.

    Args:
        curves: Panel title, for example "forces_mae", to its curves (train, val...).
        x_label: What is counted along x, with its unit: "epoch", "step", "CPU time (s)".
        units: Panel title to unit.
    """
    figure, axes = grid(len(curves), (3.9, 2.9))
    for ax, (title, lines) in zip(axes, curves.items(), strict=True):
        for colour, line in zip(_cycle(len(lines)), lines, strict=True):
            few = len(line.x) < 30
            ax.plot(line.x, line.y, color=colour, label=line.label, marker="o" if few else "", markersize=3)
        values = np.concatenate([np.asarray(line.y, dtype=float) for line in lines])
        values = values[np.isfinite(values)]
        if values.size and values.min() > 0:
            ax.set_yscale("log")
        unit = units.get(title, "")
        ax.set(xlabel=x_label, ylabel=unit, title=title)
        if len(lines) > 1:
            ax.legend()
    return figure


@styled
def energy_drift(
    time: np.ndarray, total: np.ndarray, potential: np.ndarray, num_atoms: int, *, conserved: bool = True
) -> Figure:
    """Total and potential energy along a trajectory, each from its start.

    Args:
        time: fs, (M,).
        total: eV, (M,).
        potential: eV, (M,).
        num_atoms: Energies are shown per atom.
        conserved: Whether the total energy should stay; a thermostat changes it, and no drift is shown then.
    """
    figure, axes = grid(2, (3.9, 2.9))
    changed = 1000 * (np.asarray(total) - total[0]) / num_atoms
    picoseconds = np.asarray(time) / 1000
    axes[0].plot(picoseconds, changed, color=BLUE, label="total energy")
    axes[0].set(title="total energy, with a thermostat", ylabel="total energy - start (meV/atom)")
    if conserved:
        slope, offset = linear_drift(time, total, num_atoms)
        axes[0].plot(picoseconds, offset + slope * picoseconds, color=VERMILION, linestyle="--", label="linear fit")
        axes[0].set_title(f"drift {slope:+.3g} meV/atom/ps")
        leave_room(axes[0])
        axes[0].legend(ncols=2, loc="upper left")
    axes[1].plot(picoseconds, 1000 * (np.asarray(potential) - potential[0]) / num_atoms, color=GREEN)
    axes[1].set(title="potential energy", ylabel="potential energy - start (meV/atom)")
    for ax in axes:
        ax.set_xlabel("time (ps)")
    return figure


@styled
def temperature(time: np.ndarray, kelvin: np.ndarray, target: float | None = None) -> Figure:
    """Temperature along a trajectory, (M,) each, time in fs; ``target`` is the thermostat's, None without one."""
    figure, (ax,) = grid(1, (5.6, 2.9))
    ax.plot(np.asarray(time) / 1000, kelvin, color=BLUE, label="instantaneous")
    ax.axhline(float(np.mean(kelvin)), color=VERMILION, linestyle="--", label=f"mean {np.mean(kelvin):.0f} K")
    if target is not None:
        ax.axhline(target, color=GREY, linestyle=":", label=f"thermostat {target:.0f} K")
    ax.set(xlabel="time (ps)", ylabel="temperature (K)")
    ax.set_ylim(bottom=0)
    leave_room(ax)
    ax.legend(ncols=3, loc="upper left")
    return figure


def linear_drift(time: np.ndarray, total: np.ndarray, num_atoms: int) -> tuple[float, float]:
    """Slope in meV/atom/ps and offset in meV/atom of a line fitted to a total energy.

    Args:
        time: fs, (M,); with fewer than two different times the slope is zero.
        total: eV, (M,).
        num_atoms: N.
    """
    picoseconds = np.asarray(time, dtype=float) / 1000
    if len(picoseconds) < 2 or np.ptp(picoseconds) == 0:
        return 0.0, 0.0
    changed = 1000 * (np.asarray(total, dtype=float) - total[0]) / num_atoms
    slope, offset = np.polyfit(picoseconds, changed, 1)
    return float(slope), float(offset)


def grid(count: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """A figure with ``count`` panels in rows of at most three; ``size`` of one in inches."""
    columns = min(max(count, 1), 3 if count != 4 else 2)
    rows = max(1, -(-count // columns))
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in axes[count:]:
        unused.set_visible(False)
    return figure, axes[:count]


def leave_room(ax: Axes, share: float = 0.15) -> None:
    """Widens the range upwards, for a legend or note above the data."""
    low, high = ax.get_ylim()
    ax.set_ylim(top=high + share * (high - low))


def _cycle(count: int) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(count)]
