"""Figures: they draw what they are given, survive odd input, and leave matplotlib alone."""

import matplotlib
import numpy as np
import pytest

from eqff.tracking.error_plots import Panel, error_distribution, parity
from eqff.tracking.plots import Curve, energy_drift, learning_curves, linear_drift, save_figure, temperature


def panel(count, unit="eV", bad=False):
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(count, 3))
    if bad:
        reference[::2] = np.nan
    return Panel("forces", unit, reference, reference + 0.1 * rng.normal(size=reference.shape), "MAE 0.1")


@pytest.mark.parametrize("draw", [parity, error_distribution])
@pytest.mark.parametrize("count", [1, 50, 5000])
def test_panels_carry_their_units(draw, count, tmp_path):
    figure = draw([panel(count), panel(count, bad=True)])
    axes = [ax for ax in figure.axes if ax.get_title()]
    assert len(axes) == 2 and all("(eV)" in ax.get_xlabel() for ax in axes)
    assert save_figure(figure, tmp_path / "deep" / "f.png").stat().st_size > 1000


def test_parity_covers_all_points():
    shown = panel(100)
    ax = parity([shown]).axes[0]
    low, high = ax.get_xlim()
    assert low < min(shown.reference.min(), shown.predicted.min())
    assert high > max(shown.reference.max(), shown.predicted.max())
    assert ax.get_xlim() == ax.get_ylim()


def test_errors_beyond_the_window_are_counted():
    errors = np.concatenate([np.linspace(-1, 1, 990), np.full(5, 1e4)])
    ax = error_distribution([Panel("energy", "meV", np.zeros(995), errors)]).axes[0]
    assert sum(patch.get_height() for patch in ax.patches) == 995
    assert "5 at the ends lie beyond" in ax.texts[0].get_text()


@pytest.mark.parametrize("values", [np.zeros(4), np.full(4, np.nan), np.array([])])
@pytest.mark.parametrize("draw", [parity, error_distribution])
def test_degenerate_data_draws(draw, values, tmp_path):
    save_figure(draw([Panel("energy", "eV", values, values)]), tmp_path / "f.png")


def test_learning_curves_choose_their_axis():
    positive = {"forces_mae": [Curve("train", [1, 2], [3.0, 1.0]), Curve("val", [1, 2], [4.0, np.nan])]}
    ax = learning_curves(positive, "epoch", {"forces_mae": "meV/Å"}).axes[0]
    assert ax.get_yscale() == "log" and ax.get_ylabel() == "meV/Å" and ax.get_title() == "forces_mae"
    assert [line.get_label() for line in ax.lines] == ["train", "val"]
    assert learning_curves({"loss": [Curve("a", [1], [-1.0])]}, "step", {}).axes[0].get_yscale() == "linear"


def test_drift_is_a_slope_per_atom_and_picosecond():
    time = np.linspace(0, 2000, 50)
    total = -7.0 + 0.003 * time / 1000 * 5  # 3 meV per atom and ps for 5 atoms
    slope, offset = linear_drift(time, total, 5)
    assert slope == pytest.approx(3.0) and offset == pytest.approx(0.0, abs=1e-9)
    assert linear_drift(time[:1], total[:1], 5) == (0.0, 0.0)
    assert "+3 meV/atom/ps" in energy_drift(time, total, total, 5).axes[0].get_title()


def test_temperature_shows_target():
    ax = temperature(np.arange(3.0), np.array([290.0, 300, 310]), 300.0).axes[0]
    assert [line.get_label() for line in ax.lines] == ["instantaneous", "mean 300 K", "thermostat 300 K"]


def test_global_settings_stay():
    before = dict(matplotlib.rcParams)
    parity([panel(10)])
    assert dict(matplotlib.rcParams) == before
