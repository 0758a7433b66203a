"""The timings as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.tables import TITLES, Timing, clock_of

PANELS = {
    "train_step": "training step",
    "with_nl": "inference with neighbour list",
    "model_only": "inference, model alone",
}


def draw(found: Sequence[Timing], path: Path, device: str = "cpu") -> Path:
    """Bars for training steps and inference of each workload, on the fewest threads that were timed."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from eqff.tracking.plots import COLOURS, STYLE, save_figure

    threads = min(t.threads for t in found)
    chosen = [t for t in found if t.threads == threads]
    whats = [what for what in TITLES if any(t.what == what for t in chosen)]
    modes: dict[str, dict[str, None]] = {}
    for t in chosen:
        modes.setdefault(_model(t), {})[t.mode] = None
    colours = dict(zip(modes, COLOURS * 3, strict=False))
    clock = clock_of(threads, device)
    with rc_context(STYLE):
        figure = Figure(figsize=(3.2 * len(whats), 3.2), layout="constrained")
        panels = figure.subplots(1, len(whats), squeeze=False)[0]
        for panel, what in zip(panels, whats, strict=True):
            _bars(panel, [t for t in chosen if t.what == what], colours, clock)
            panel.set_title(PANELS[what], fontsize="medium")
        panels[0].set_ylabel(f"{'CPU' if clock == 'cpu' else 'wall'} time of a call, ms")
        marks = [panels[0].bar([0], [0], color=colour) for colour in colours.values()]
        labels = [f"{model} ({', '.join(found)})" for model, found in modes.items()]
        figure.legend(marks, labels, loc="outside upper center", ncols=min(len(labels), 5))
    return save_figure(figure, path)


def _model(t: Timing) -> str:
    """The name without the mode."""
    return t.name.removesuffix(f", {t.mode}")


def _bars(panel: Any, found: Sequence[Timing], colours: dict[str, Any], clock: str) -> None:
    workloads = list(dict.fromkeys(t.workload for t in found))
    names = list(dict.fromkeys(t.name for t in found))
    width = 0.8 / len(names)
    for t in found:
        place = workloads.index(t.workload) + (names.index(t.name) - (len(names) - 1) / 2) * width
        panel.bar([place], [t.best(clock)], width, color=colours[_model(t)])
    panel.set_yscale("log")
    panel.set_xticks(range(len(workloads)), workloads, rotation=30, ha="right")
