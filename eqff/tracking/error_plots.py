"""Figures of predictions against labels, and of how errors are spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from eqff.tracking.plots import BLUE, DENSITY_MAP, GREY, grid, leave_room, styled

_MANY_POINTS = 3000
_PANEL = (3.3, 3.1)


@dataclass(frozen=True)
class Panel:
    """One quantity of a figure with several.

    Attributes:
        title: For example "forces".
        unit: Of both arrays.
        reference: Labels, any shape.
        predicted: The model's numbers, same shape.
        note: Written into the panel's corner, for example the mean error.
    """

    title: str
    unit: str
    reference: np.ndarray
    predicted: np.ndarray
    note: str = ""

    def finite(self) -> tuple[np.ndarray, np.ndarray]:
        """Reference and prediction, flat, where both are known and finite."""
        known = np.isfinite(self.reference) & np.isfinite(self.predicted)
        return self.reference[known], self.predicted[known]


@styled
def parity(panels: Sequence[Panel]) -> Figure:
    """Prediction against label, a panel per quantity; many points are shown as their density."""
    figure, axes = grid(len(panels), _PANEL)
    for ax, panel in zip(axes, panels, strict=True):
        reference, predicted = panel.finite()
        _scatter(figure, ax, reference, predicted)
        low, high = _limits(reference, predicted)
        ax.plot([low, high], [low, high], color=GREY, linewidth=0.8, zorder=1)
        ticks = MaxNLocator(5).tick_values(low, high)
        ax.set(xticks=ticks, yticks=ticks)
        ax.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        ax.set(xlabel=f"reference ({panel.unit})", ylabel=f"predicted ({panel.unit})", title=panel.title)
        _note(ax, panel.note)
    return figure


@styled
def error_distribution(panels: Sequence[Panel]) -> Figure:
    """How errors (predicted - reference) are spread, a panel per quantity; says how many lie outside of the window."""
    figure, axes = grid(len(panels), _PANEL)
    for ax, panel in zip(axes, panels, strict=True):
        reference, predicted = panel.finite()
        errors = predicted - reference
        window = _window(errors)
        ax.hist(errors.clip(-window, window), bins=61, range=(-window, window), color=BLUE)
        ax.axvline(0.0, color=GREY, linewidth=0.8, zorder=1)
        leave_room(ax, 0.3)
        ax.set(xlim=(-window, window), xlabel=f"error ({panel.unit})", ylabel="count", title=panel.title)
        outside = int((np.abs(errors) > window).sum())
        _note(ax, f"{panel.note}\n{outside} at the ends lie beyond" if outside else panel.note)
    return figure


def _scatter(figure: Figure, ax: Axes, reference: np.ndarray, predicted: np.ndarray) -> None:
    if reference.size <= _MANY_POINTS:
        ax.scatter(reference, predicted, s=9, color=BLUE, alpha=0.6, linewidths=0, rasterized=True)
        return
    low, high = _limits(reference, predicted)
    bins = ax.hexbin(
        reference,
        predicted,
        gridsize=70,
        extent=(low, high, low, high),
        bins="log",
        mincnt=1,
        cmap=DENSITY_MAP,
        linewidths=0.1,
    )
    figure.colorbar(bins, ax=ax, label="count", shrink=0.75)


def _limits(*values: np.ndarray) -> tuple[float, float]:
    finite = np.concatenate([v[np.isfinite(v)] for v in values])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    margin = 0.04 * (high - low) or max(abs(high), 1.0) * 1e-3
    return low - margin, high + margin


def _window(errors: np.ndarray) -> float:
    """Half the width of an error histogram: what holds 99 % of the errors, with a little room."""
    finite = np.abs(errors[np.isfinite(errors)])
    return 1.15 * float(np.quantile(finite, 0.99)) if finite.size and finite.max() > 0 else 1.0


def _note(ax: Axes, text: str) -> None:
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5}
    ax.text(0.03, 0.97, text.strip(), transform=ax.transAxes, va="top", fontsize=8, color="#333333", bbox=box)
