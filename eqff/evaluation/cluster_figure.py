"""The figure of errors by cluster: a map of the structures as the model sees them, and the error of each cluster."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from eqff.evaluation.clusters import Clustering
from eqff.evaluation.features import standardised
from eqff.tracking.plots import BLUE, DENSITY_MAP, styled


@styled
def cluster_figure(clusters: Clustering, unit: str, overall: float) -> Figure:
    """Left, the two leading principal components of the features, coloured by cluster error; right, the errors.

    Args:
        clusters: With errors.
        unit: Of the errors.
        overall: Root mean square error of the whole set, drawn as a line.
    """
    count = len(clusters.names)
    figure = Figure(figsize=(9.0, max(3.4, 1.2 + 0.32 * count)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
    place = principal_components(clusters.features)
    shown = left.scatter(*place.T, c=clusters.errors[clusters.label], s=10, cmap=DENSITY_MAP, linewidths=0)
    for index in range(count):
        left.annotate(
            str(index + 1), place[clusters.label == index].mean(axis=0), ha="center", va="center", weight="bold"
        )
    left.set(xlabel="first principal component", ylabel="second principal component", title="learned features")
    figure.colorbar(shown, ax=left, label=f"RMSE of the cluster ({unit})")
    rows = np.arange(count)[::-1]
    right.barh(rows, np.nan_to_num(clusters.errors), color=BLUE)
    right.axvline(overall, color="black", linewidth=0.8, linestyle="--", label="all")
    right.set_yticks(rows, clusters.names)
    right.set(xlabel=f"{clusters.quantity.replace('_', ' ')} RMSE ({unit})", title="errors by cluster")
    right.grid(axis="y", visible=False)
    right.legend(loc="lower right")
    return figure


def principal_components(features: np.ndarray, count: int = 2) -> np.ndarray:
    """The leading principal components of standardised features (M, D), (M, count); zeros where there are fewer."""
    scaled = standardised(features)
    left, values, _ = np.linalg.svd(scaled - scaled.mean(axis=0), full_matrices=False)
    found = (left * values)[:, :count]
    return np.pad(found, ((0, 0), (0, count - found.shape[1])))
