"""The figure of a calibration: errors found where errors of some size were predicted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from eqff.evaluation.calibration import Calibration, Doubts
from eqff.tracking.plots import BLUE, VERMILION, grid, styled

BINS = 12
_FEWEST = 5  # numbers to a bin: the root mean square of fewer says little


@styled
def calibration_figure(found: Mapping[str, tuple[Doubts, Calibration]]) -> Figure:
    """One panel a quantity: absolute errors against predicted uncertainties, and both in bins, on logarithmic axes."""
    figure, axes = grid(len(found), (4.2, 3.6))
    for ax, (name, (each, score)) in zip(axes, found.items(), strict=True):
        absolute = np.abs(each.errors)
        shown = absolute > 0  # zeros have no place on a logarithmic axis
        ax.scatter(each.sigmas[shown], absolute[shown], s=4, color=BLUE, alpha=0.25, linewidths=0, rasterized=True)
        sigma, error = binned(each)
        ax.plot(sigma, error, "o-", color=VERMILION, label="root mean square in bins")
        ends = np.array([each.sigmas.min(), each.sigmas.max()])
        ax.plot(ends, ends, color="black", linewidth=0.8, label="calibrated")
        ax.set(xscale="log", yscale="log", title=name.replace("_", " "))
        ax.set(xlabel=f"uncertainty ({each.unit})", ylabel=f"absolute error ({each.unit})")
        ax.text(0.98, 0.02, f"scale {score.scale:.2f}", transform=ax.transAxes, ha="right", va="bottom")
        ax.legend(loc="upper left")
    return figure


def binned(each: Doubts) -> tuple[np.ndarray, np.ndarray]:
    """Root mean squares of uncertainties and of errors, in bins of equally many numbers in the order of uncertainty."""
    order = np.argsort(each.sigmas)
    parts = np.array_split(order, max(1, min(BINS, len(order) // _FEWEST)))
    rms = [[np.sqrt(np.mean(values[part] ** 2)) for part in parts] for values in (each.sigmas, each.errors)]
    return np.asarray(rms[0]), np.asarray(rms[1])
