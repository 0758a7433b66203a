"""Vibrational spectra from what dipole and polarizability do along molecular dynamics.

Classical time correlations, with a quantum correction factor that the caller names [Ramirez et al., J. Chem. Phys. 121,
3973 (2004); Thomas et al., Phys. Chem. Chem. Phys. 15, 6608 (2013)]. Both spectra are densities that integrate to the
intensities that normal-mode programs print.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy import constants

from eqff.errors import ConfigError, DataError, did_you_mean
from eqff.units import COULOMB_CONSTANT

Correction = Literal["harmonic", "standard", "schofield"]

BOLTZMANN = constants.k / constants.e
"""eV/K."""
LIGHT = constants.c * 1e-5
"""Å/fs."""
WAVENUMBER = 1e8 / (2 * np.pi * LIGHT)
"""cm⁻¹ of an angular frequency of 1/fs."""
_DALTON = constants.physical_constants["atomic mass constant"][0] * 1e10 / constants.e
"""eV of 1 amu·Å²/fs²."""
_KM_PER_MOL = constants.N_A * 1e-20 * 100 / 1000
"""km/mol of a cross section of 1 Å², over 1 cm⁻¹: Å² to m², cm⁻¹ to m⁻¹, m to km."""


def _harmonic(x: np.ndarray) -> np.ndarray:
    return np.ones_like(x)


def _standard(x: np.ndarray) -> np.ndarray:
    return np.divide(np.tanh(x / 2), x / 2, out=np.ones_like(x), where=x != 0)


def _schofield(x: np.ndarray) -> np.ndarray:
    return np.divide(np.sinh(x / 2), x / 2, out=np.ones_like(x), where=x != 0)


_CORRECTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = dict(
    zip(get_args(Correction), (_harmonic, _standard, _schofield), strict=True)
)
"""Q(w) (1 - exp(-x)) / x with x = hbar w / kT: 1 for the harmonic factor Q = x / (1 - exp(-x)), which makes the
classical intensities of harmonic oscillators those of quantum ones."""


@dataclass(frozen=True)
class Spectrum:
    """An intensity by wavenumber.

    Attributes:
        wavenumbers: cm⁻¹, (M,), from 0, equally spaced.
        intensity: (M,), in ``unit``.
        unit: Of the intensity, a density in wavenumbers.
        resolution: cm⁻¹; width at half height of a line that is infinitely sharp.
    """

    wavenumbers: np.ndarray
    intensity: np.ndarray
    unit: str
    resolution: float

    def band(self, low: float, high: float) -> float:
        """The intensity between two wavenumbers, integrated."""
        inside = (self.wavenumbers >= low) & (self.wavenumbers <= high)
        return float(np.trapezoid(self.intensity[inside], self.wavenumbers[inside]))

    def peaks(self, share: float = 0.02) -> list[tuple[float, float]]:
        """Position and height of maxima above a share of the highest, in order of position."""
        y = self.intensity
        inner = np.flatnonzero((y[1:-1] > y[:-2]) & (y[1:-1] >= y[2:]) & (y[1:-1] >= share * y.max())) + 1
        return [(float(self.wavenumbers[i]), float(y[i])) for i in inner]


def infrared(
    dipoles: np.ndarray,
    interval: float,
    temperature: float,
    *,
    correlation_time: float = 1000.0,
    correction: Correction = "harmonic",
) -> Spectrum:
    """Absorption in km/mol per cm⁻¹: sigma(w) = 4 pi² k_e / (3 c k_B T) 1/(2 pi) int <mu'(0)·mu'(t)> exp(-iwt) dt.

    Args:
        dipoles: Along the trajectory, e·Å, (M, 3). Of a periodic structure, dipoles of atoms that were not wrapped.
        interval: fs between them; vibrations faster than 1/(2 interval) appear elsewhere.
        temperature: K, of the dynamics.
        correlation_time: fs, up to which correlations count, under a Hann window.
        correction: Quantum correction factor.

    Raises:
        ConfigError: A number that can't be, or another correction.
        DataError: Too few frames, or values that are not finite.
    """
    return infrared_of_rates(*rates(dipoles, interval), temperature, correlation_time, correction)


def infrared_of_rates(
    currents: np.ndarray,
    interval: float,
    smoothing: float,
    temperature: float,
    correlation_time: float = 1000.0,
    correction: Correction = "harmonic",
) -> Spectrum:
    """The same from the dipole's time derivatives, as sum_k Z_k·v_k of Born charges and velocities.

    Args:
        currents: e·Å/fs, (M, 3).
        interval: fs between them.
        smoothing: fs over which each is a mean; 0 for derivatives at one moment.

    Others as for `infrared`.
    """
    frequencies, density, resolution = _density(currents, interval, smoothing, correlation_time)
    section = 4 * np.pi**2 * COULOMB_CONSTANT / (3 * LIGHT * _thermal(temperature)) * density
    return _spectrum(frequencies, _KM_PER_MOL * section, "km/mol/cm⁻¹", resolution, temperature, correction)


def raman(
    polarizabilities: np.ndarray,
    interval: float,
    temperature: float,
    *,
    correlation_time: float = 1000.0,
    correction: Correction = "harmonic",
) -> Spectrum:
    """Raman activity 45 a'² + 7 gamma'² in Å⁴/amu per cm⁻¹, without the factors of laser, frequency and temperature.

    a is the mean of the polarizability's diagonal, gamma² = 3/2 of the squared norm of what remains.

    Args:
        polarizabilities: Along the trajectory, Å³, (M, 3, 3).

    Others as for `infrared`.
    """
    values = np.asarray(polarizabilities, dtype=float)
    mean = np.trace(values, axis1=1, axis2=2) / 3
    rest = (values - mean[:, None, None] * np.eye(3)).reshape(-1, 9)
    weighted = np.concatenate([np.sqrt(45) * mean[:, None], np.sqrt(7 * 1.5) * rest], axis=1)
    frequencies, density, resolution = _density(*rates(weighted, interval), correlation_time)
    activity = 2 * density * _DALTON / _thermal(temperature) / WAVENUMBER
    return _spectrum(frequencies, activity, "Å⁴/amu/cm⁻¹", resolution, temperature, correction)


def rates(values: np.ndarray, interval: float) -> tuple[np.ndarray, float, float]:
    """Differences of neighbours in time by their interval, which are means over it: (M - 1, K), interval, interval.

    Raises:
        ConfigError: The interval is not positive.
        DataError: Too few frames.
    """
    values = np.asarray(values, dtype=float)
    if not interval > 0:
        raise ConfigError(f"interval: {interval} fs between frames is not above 0.")
    if len(values) < 16:
        raise DataError(f"A spectrum needs a trajectory: {len(values)} frames are too few.")
    return np.diff(values, axis=0) / interval, interval, interval


def autocorrelation(values: np.ndarray, length: int) -> np.ndarray:
    """<x(0)·x(t)> at the first ``length`` intervals, each lag averaged over the pairs that it has, (length,).

    Args:
        values: (M, K), summed over K.
        length: At most M.
    """
    count = len(values)
    size = 1 << (2 * count - 1).bit_length()  # no correlation around the ends
    power = (np.abs(np.fft.rfft(values, size, axis=0)) ** 2).sum(axis=1)
    return np.fft.irfft(power, size)[:length] / np.arange(count, count - length, -1)


def _density(
    values: np.ndarray, interval: float, smoothing: float, correlation_time: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Angular frequencies (1/fs), (1/2 pi) int <x(0)·x(t)> exp(-iwt) dt, and the resolution in cm⁻¹."""
    if not np.isfinite(values).all():
        raise DataError("Some values along the trajectory are not finite.")
    length = min(int(correlation_time / interval), len(values) // 2)
    if length < 8:
        raise ConfigError(
            f"correlation_time: {correlation_time:g} fs are {length} intervals of {interval:g} fs; at least 8 are "
            "needed, and twice as long a trajectory."
        )
    window = 0.5 * (1 + np.cos(np.pi * np.arange(length) / length))
    decayed = window * autocorrelation(values, length)
    size = 8 * length  # points between which to draw; the resolution is the window's
    density = (2 * np.fft.rfft(decayed, size).real - decayed[0]) * interval / (2 * np.pi)
    frequencies = 2 * np.pi * np.fft.rfftfreq(size, interval)
    # differences are means of the derivative, which weaken fast vibrations by a known factor
    density = density / np.sinc(frequencies * smoothing / (2 * np.pi)) ** 2
    return frequencies, density, WAVENUMBER * 2 * np.pi / (length * interval)


def _thermal(temperature: float) -> float:
    if not temperature > 0:
        raise ConfigError(f"temperature: {temperature} K is not above 0.")
    return BOLTZMANN * temperature


def _spectrum(
    frequencies: np.ndarray, values: np.ndarray, unit: str, resolution: float, temperature: float, correction: str
) -> Spectrum:
    if correction not in _CORRECTIONS:
        raise ConfigError(f"There is no correction '{correction}'.{did_you_mean(correction, _CORRECTIONS)}")
    x = constants.hbar / constants.e * 1e15 * frequencies / _thermal(temperature)
    wavenumbers = WAVENUMBER * frequencies
    per_wavenumber = _CORRECTIONS[correction](x)
    return Spectrum(wavenumbers, values * per_wavenumber, unit, resolution)
