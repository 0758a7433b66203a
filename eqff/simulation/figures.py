"""The figures of a simulation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from eqff.simulation.analysis import RadialDistributions
from eqff.tracking.plots import BLUE, COLOURS, GREY, VERMILION, energy_drift, save_figure, styled, temperature

Log = Mapping[str, np.ndarray]


def dynamics_figures(log: Log, num_atoms: int, target: float | None, folder: Path) -> dict[str, Path]:
    """Energies and temperature along molecular dynamics.

    Args:
        log: Column to values.
        num_atoms: N.
        target: K, of the thermostat; None without one.
        folder: For the files.
    """
    time, potential = log["time_fs"], log["potential_energy_eV"]
    conserved = np.isfinite(log["conserved_energy_eV"]).all()
    energy = log["conserved_energy_eV" if conserved else "total_energy_eV"]
    drift = energy_drift(time, energy, potential, num_atoms, conserved=bool(conserved))
    return {
        "energy_drift": save_figure(drift, folder / "energy_drift.png"),
        "temperature": save_figure(temperature(time, log["temperature_K"], target), folder / "temperature.png"),
    }


@styled
def cell_course(log: Log, target: float | None) -> Figure:
    """Volume and pressure along a run under pressure; ``target`` in GPa, None without one."""
    figure = Figure(figsize=(7.8, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    x, label = (log["time_fs"] / 1000, "time (ps)") if "time_fs" in log else (log["step"], "step")
    left.plot(x, log["volume_A3"], color=BLUE)
    left.set(xlabel=label, ylabel="volume (Å³)", title="volume")
    right.plot(x, log["pressure_GPa"], color=BLUE, label="instantaneous")
    right.axhline(float(log["pressure_GPa"].mean()), color=VERMILION, linestyle="--", label="mean")
    if target is not None:
        right.axhline(target, color=GREY, linestyle=":", label=f"target {target:g} GPa")
    right.set(xlabel=label, ylabel="pressure (GPa)", title="pressure")
    right.legend()
    return figure


@styled
def relaxation_course(log: Log, fmax: float) -> Figure:
    """Energy and largest force along a relaxation; ``fmax`` in eV/Å."""
    figure = Figure(figsize=(7.8, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    energy = log["potential_energy_eV"]
    left.plot(log["step"], energy - energy[-1], color=BLUE)
    left.set(xlabel="step", ylabel="energy - last (eV)", title="potential energy")
    right.semilogy(log["step"], log["max_force_eV_per_A"], color=BLUE)
    right.axhline(fmax, color=GREY, linestyle=":", label=f"fmax {fmax:g} eV/Å")
    right.set(xlabel="step", ylabel="largest force (eV/Å)", title="largest force on an atom")
    right.legend()
    return figure


@styled
def radial_distribution(found: RadialDistributions) -> Figure:
    """A line for each pair of elements, a panel for six of them."""
    names = list(found.pairs)
    reached = found.radii[np.any([line > 0 for line in found.pairs.values()], axis=0)]
    last = found.radii[-1] if found.periodic else 1.1 * reached[-1]
    panels = [names[start : start + len(COLOURS)] for start in range(0, len(names), len(COLOURS))]
    figure = Figure(figsize=(5.6, 2.9 * len(panels)), layout="constrained")
    for ax, shown in zip(figure.subplots(len(panels), 1, squeeze=False).flat, panels, strict=True):
        for colour, name in zip(COLOURS, shown, strict=False):
            ax.plot(found.radii, found.pairs[name], color=colour, label=name)
        if found.periodic:
            ax.axhline(1.0, color=GREY, linestyle=":")
            top = max(found.pairs[name][found.radii > 1.3].max(initial=0.0) for name in shown)
            ax.set_ylim(0, max(1.15 * top, 1.5))  # bonds to hydrogen would dwarf everything else
        ax.set(xlabel="r (Å)", ylabel="g(r)" if found.periodic else "pairs per Å", xlim=(0, last))
        ax.legend()
    return figure
