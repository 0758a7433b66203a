"""From a trajectory to spectra: where dipoles come from, and what a periodic structure needs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.geometry import find_mic
from ase.io import iread
from ase.io.formats import UnknownFileTypeError

from eqff.data.atomic_data import AtomicData
from eqff.data.atoms import from_atoms
from eqff.data.convert import Multiplicity
from eqff.errors import ConfigError, DataError
from eqff.evaluation.predictions import Progress, predict
from eqff.observables.spectra import Correction, Spectrum, infrared, infrared_of_rates, raman
from eqff.potential import Potential

CONFIG_FILE = "simulation.json"
RESPONSES = ("dipole", "polarizability", "born_charges")


@dataclass(frozen=True)
class Trajectory:
    """Frames at equal intervals.

    Attributes:
        frames: Of the same atoms.
        interval: fs between them.
        temperature: K, of the dynamics.
    """

    frames: list[Atoms]
    interval: float
    temperature: float


def read_trajectory(
    path: str | Path, interval: float | None, temperature: float | None, discard: float = 0.0
) -> Trajectory:
    """Frames of a simulation's folder or of a file.

    Args:
        path: Folder that eqff.simulate left, or any file that ASE reads.
        interval: fs between frames; None for what the folder says.
        temperature: K; None for what the folder says, if a thermostat held it.
        discard: Share that is left out at the beginning.

    Raises:
        ConfigError: Interval or temperature are nowhere given.
        DataError: There is no such file, it can't be read, or it holds frames of different atoms.
    """
    source, said = Path(path).expanduser(), {}
    if not source.exists():
        raise DataError(f"There is no '{path}'. Give the folder of a simulation, or a file of frames.")
    if source.is_dir():
        said = _settings(source)
        source = source / said["trajectory"]
    if interval is None and "timestep" in said:
        interval = said["timestep"] * said["trajectory_every"]
    if temperature is None and said.get("ensemble") in ("nvt", "npt"):
        temperature = said["temperature"]
    for name, value, unit in (("interval", interval, "fs"), ("temperature", temperature, "K")):
        if value is None:
            raise ConfigError(f"{name}: '{path}' does not say it. Give it as {name}=NUMBER ({unit}).")
    frames = list(_read(source))
    frames = frames[int(discard * len(frames)) :]
    if any(not np.array_equal(frame.numbers, frames[0].numbers) for frame in frames):
        raise DataError(f"'{source}' holds frames of different atoms: that is no trajectory.")
    return Trajectory(frames, float(interval), float(temperature))


def unwrapped(frames: Sequence[Atoms]) -> Iterator[Atoms]:
    """The frames with every atom next to where it was in the one before, so that dipoles don't jump."""
    previous: Atoms | None = None
    for frame in frames:
        moved = frame.copy()
        if previous is not None and frame.pbc.any():
            steps, _ = find_mic(frame.positions - previous.positions, frame.cell, frame.pbc)
            moved.positions = previous.positions + steps
        previous = moved
        yield moved


def spectra(
    trajectory: Trajectory,
    potential: Potential | None,
    *,
    correlation_time: float = 1000.0,
    correction: Correction = "harmonic",
    total_charge: float | None = None,
    multiplicity: Multiplicity | None = None,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> dict[str, Spectrum]:
    """The spectra for which there is something: "infrared", "raman".

    Of periodic structures with Born charges and velocities, the dipole's derivative is sum_k Z_k·v_k, which does not
    depend on images; else dipoles are those of unwrapped atoms.

    Args:
        trajectory: What happened.
        potential: Predicts dipoles, and what else it can; None for what the frames hold.
        correlation_time: fs; see `infrared`.
        correction: Quantum correction factor.
        total_charge: e, for frames that state none.
        multiplicity: 2S+1, the same.
        batch_size: Predictions at a time.
        progress: Is told the number of predictions done.

    Raises:
        DataError: Neither model nor trajectory has dipoles, or the atoms of a periodic trajectory were wrapped.
    """
    settings = {"correlation_time": correlation_time, "correction": correction}
    time = (trajectory.interval, trajectory.temperature)
    if potential is None:
        values = _held(trajectory.frames)
    else:
        given = {"total_charge": total_charge, "multiplicity": multiplicity}
        frames = [from_atoms(atoms, labels=(), **given) for atoms in unwrapped(trajectory.frames)]
        values = _predicted(potential, frames, batch_size, progress)
    found = {}
    velocities = [frame.get_velocities() for frame in trajectory.frames if frame.has("momenta")]
    periodic = bool(trajectory.frames[0].pbc.any())
    if periodic and "born_charges" in values and len(velocities) == len(trajectory.frames):
        found["infrared"] = infrared_of_rates(
            _currents(values["born_charges"], velocities), trajectory.interval, 0.0, trajectory.temperature, **settings
        )
    elif "dipole" in values:
        found["infrared"] = infrared(values["dipole"], *time, **settings)
    if "polarizability" in values:
        found["raman"] = raman(values["polarizability"], *time, **settings)
    if not found:
        where = "The trajectory holds" if potential is None else "The model predicts"
        raise DataError(
            f"{where} no dipoles. Give model=, a model with a head that writes them: +head@model.heads.dipole=dipole."
        )
    return found


def _read(source: Path) -> Iterator[Atoms]:
    try:
        yield from iread(source, index=":")
    except (OSError, ValueError, KeyError, StopIteration, UnknownFileTypeError) as error:
        raise DataError(f"'{source}' can't be read as a trajectory: {error}") from error


def _settings(folder: Path) -> Mapping[str, Any]:
    file = folder / CONFIG_FILE
    if not file.is_file():
        raise DataError(f"'{folder}' is no simulation's folder: it has no {CONFIG_FILE}. Give the trajectory's file.")
    return json.loads(file.read_text(encoding="utf-8"))["settings"]


def _predicted(
    potential: Potential, frames: Sequence[AtomicData], batch_size: int, progress: Progress | None
) -> dict[str, np.ndarray]:
    labels = [name for name in RESPONSES if name in potential.predicts]
    if not labels:
        return {}
    found = predict(potential, frames, labels=labels, batch_size=batch_size, progress=progress)
    return {name: np.stack([prediction.labels[name] for prediction in found]) for name in labels}


def _held(frames: Sequence[Atoms]) -> dict[str, np.ndarray]:
    """What the frames hold themselves.

    Raises:
        DataError: The atoms of a periodic structure were wrapped, so dipoles of charges jump.
    """
    states = {"total_charge": 0, "multiplicity": "lowest"}
    data = [from_atoms(_neutral(atoms), labels=RESPONSES, **states) for atoms in frames]
    names = [name for name in RESPONSES if all(frame.has(name) for frame in data)]
    values = {name: torch.stack([frame[name] for frame in data]).numpy() for name in names}
    if "dipole" in values and frames[0].pbc.any():
        steps = np.diff([frame.positions for frame in frames], axis=0)
        lengths = np.linalg.norm(frames[0].cell.array[frames[0].pbc], axis=1)
        if np.linalg.norm(steps, axis=2).max() > 0.5 * lengths.min():
            raise DataError(
                "Atoms of this periodic trajectory jump by half a cell: they were wrapped, and their dipoles jump too. "
                "Give model=, by which dipoles are predicted for unwrapped atoms."
            )
    flat = {"dipole": (-1, 3), "polarizability": (-1, 3, 3), "born_charges": (len(data), -1, 3, 3)}
    return {name: value.reshape(flat[name]) for name, value in values.items()}


def _neutral(atoms: Atoms) -> Atoms:
    """The same frame without its state, which dipoles that are there already don't need."""
    plain = atoms.copy()
    plain.calc = atoms.calc
    for key in ("total_charge", "charge", "multiplicity", "spin"):
        plain.info.pop(key, None)
    return plain


def _currents(born_charges: np.ndarray, velocities: Sequence[np.ndarray]) -> np.ndarray:
    """sum_k Z_k,ab v_ka in e·Å/fs, (M, 3), from ASE's velocities."""
    from ase.units import fs

    return np.einsum("tkab,tka->tb", born_charges, np.asarray(velocities) * fs)
