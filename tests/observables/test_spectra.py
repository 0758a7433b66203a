"""Spectra against oscillators whose intensities are known."""

import numpy as np
import pytest

from eqff.errors import ConfigError, DataError
from eqff.observables.spectra import BOLTZMANN, WAVENUMBER, autocorrelation, infrared, infrared_of_rates, raman

DALTON = 103.642696  # eV of 1 amu·Å²/fs²
DEBYE = 0.20819434  # e·Å
KM_PER_MOL = 42.2561  # of (1 D/Å)²/amu [as normal-mode programs print]
TEMPERATURE, INTERVAL, FRAMES = 300.0, 1.0, 40_000
POSITION, WEAK = 1600.0, 3600.0  # cm⁻¹


def _coordinate(position, mass=1.0, seed=0, frames=FRAMES):
    """A harmonic coordinate in Å whose energy is exactly that of the temperature, kT."""
    amplitude = np.sqrt(2 * BOLTZMANN * TEMPERATURE / (mass * DALTON)) / (position / WAVENUMBER)
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi)
    return amplitude * np.cos(position / WAVENUMBER * INTERVAL * np.arange(frames) + phase)


def test_infrared_intensity_of_an_oscillator():
    """A mode whose dipole changes by 1 D/Å along x has 42.26 km/mol, at its own wavenumber, whatever its mass."""
    for mass, position in ((1.0, POSITION), (2.5, WEAK)):
        dipoles = np.zeros((FRAMES, 3))
        dipoles[:, 0] = 1.3 + DEBYE * np.sqrt(mass) * _coordinate(position, mass)
        found = infrared(dipoles, INTERVAL, TEMPERATURE)
        assert found.band(position - 150, position + 150) == pytest.approx(KM_PER_MOL, rel=0.005)
        assert found.wavenumbers[found.intensity.argmax()] == pytest.approx(position, abs=found.resolution / 8)
        assert [round(x, -2) for x, _ in found.peaks()] == [position]


def test_width_of_a_line_is_the_resolution():
    dipoles = np.zeros((FRAMES, 3))
    dipoles[:, 2] = _coordinate(POSITION)
    for time in (500.0, 1000.0):
        found = infrared(dipoles, INTERVAL, TEMPERATURE, correlation_time=time)
        high = found.wavenumbers[found.intensity > found.intensity.max() / 2]
        assert np.ptp(high) == pytest.approx(found.resolution, rel=0.15)


def test_coarse_sampling_does_not_weaken_fast_vibrations():
    dipoles = np.zeros((FRAMES, 3))
    dipoles[:, 1] = DEBYE * _coordinate(WEAK)
    coarse = infrared(dipoles[::4], 4 * INTERVAL, TEMPERATURE)
    assert coarse.band(WEAK - 150, WEAK + 150) == pytest.approx(KM_PER_MOL, rel=0.01)


def test_currents_give_the_same():
    x = _coordinate(POSITION)
    velocity = np.gradient(x, INTERVAL) / np.sinc(POSITION / WAVENUMBER * INTERVAL / np.pi)
    dipoles, currents = np.zeros((FRAMES, 3)), np.zeros((FRAMES, 3))
    dipoles[:, 0], currents[:, 0] = x, velocity
    first = infrared(dipoles, INTERVAL, TEMPERATURE)
    second = infrared_of_rates(currents, INTERVAL, 0.0, TEMPERATURE)
    assert first.band(1400, 1800) == pytest.approx(second.band(1400, 1800), rel=0.005)


def test_raman_activity_of_an_oscillator():
    """45 a'² + 7 gamma'² for a derivative with an isotropic and an anisotropic part."""
    derivative = np.array([[2.0, 0.3, 0.0], [0.3, 0.5, -0.4], [0.0, -0.4, 1.0]])
    values = derivative[None] * _coordinate(POSITION)[:, None, None] + np.eye(3)
    a = np.trace(derivative) / 3
    rest = derivative - a * np.eye(3)
    expected = 45 * a**2 + 7 * 1.5 * (rest**2).sum()
    found = raman(values, INTERVAL, TEMPERATURE)
    assert found.band(POSITION - 150, POSITION + 150) == pytest.approx(expected, rel=0.005)


def test_breathing_has_no_infrared_and_turning_the_frame_changes_nothing():
    rng = np.random.default_rng(3)
    dipoles = rng.normal(size=(3000, 3)).cumsum(axis=0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    before = infrared(dipoles, INTERVAL, TEMPERATURE).intensity
    np.testing.assert_allclose(infrared(dipoles @ turn.T + 5.0, INTERVAL, TEMPERATURE).intensity, before, rtol=1e-9)
    assert not infrared(np.ones((3000, 3)), INTERVAL, TEMPERATURE).intensity.any()


def test_corrections_by_name():
    """Ratios to the harmonic factor at x = hbar w / kT."""
    dipoles = np.zeros((FRAMES, 3))
    dipoles[:, 0] = _coordinate(POSITION)
    spectra = {
        name: infrared(dipoles, INTERVAL, TEMPERATURE, correction=name)
        for name in ("harmonic", "standard", "schofield")
    }
    place = int(spectra["harmonic"].intensity.argmax())
    height = {name: float(spectrum.intensity[place]) for name, spectrum in spectra.items()}
    x = 1.438777 * float(spectra["harmonic"].wavenumbers[place]) / TEMPERATURE  # hc/k in cm·K
    assert height["standard"] / height["harmonic"] == pytest.approx(2 * np.tanh(x / 2) / x, rel=1e-5)
    assert height["schofield"] / height["harmonic"] == pytest.approx(2 * np.sinh(x / 2) / x, rel=1e-5)


def test_autocorrelation_is_the_plain_mean():
    values = np.random.default_rng(0).normal(size=(50, 2))
    expected = [np.mean((values[: 50 - lag] * values[lag:]).sum(axis=1)) for lag in range(20)]
    np.testing.assert_allclose(autocorrelation(values, 20), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"interval": 0.0}, ConfigError, "interval"),
        ({"temperature": 0.0}, ConfigError, "temperature"),
        ({"correlation_time": 3.0}, ConfigError, "correlation_time"),
        ({"correction": "harmonik"}, ConfigError, "Did you mean 'harmonic'"),
        ({"dipoles": np.zeros((5, 3))}, DataError, "5 frames"),
        ({"dipoles": np.full((500, 3), np.nan)}, DataError, "not finite"),
    ],
)
def test_what_can_not_be_is_said(change, error, message):
    settings = {"dipoles": np.zeros((500, 3)), "interval": 1.0, "temperature": 300.0} | change
    with pytest.raises(error, match=message):
        infrared(settings.pop("dipoles"), **settings)
