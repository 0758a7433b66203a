"""The elements' energies of a model that goes on with other data, and that of an electron."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from eqff.data.atomic_data import AtomicData
from eqff.data.charge_reference import ChargeReference
from eqff.data.energy_rows import EnergyRows
from eqff.evaluation.predictions import predict
from eqff.potential import Potential

SAMPLE = 2000
"""Frames that are predicted for it, drawn from the training set."""
_UNDETERMINED = 1e-6
"""Share of an element in what the compositions leave open, above which its energy alone says nothing: rounding."""


BEYOND_CHEMISTRY = 10.0
"""eV/atom: more than it takes to pull the strongest bonded solids and molecules apart (4 to 9)."""


@dataclass(frozen=True)
class Refit:
    """What is added to a model's energies so that its errors have no linear trend in composition and charge.

    Attributes:
        shifts: Z to eV; empty if no frame has an energy.
        slope: eV for each unit of total charge; None if it was not fitted.
        rank: How many combinations of all of these the frames determine.
        undetermined: Elements whose energies they leave open.
        left: Mean absolute error of the energies afterwards, eV/atom; None where it was not measured.
    """

    shifts: dict[int, float] = field(default_factory=dict)
    slope: float | None = None
    rank: int = 0
    undetermined: tuple[int, ...] = ()
    left: float | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Refit:
        """From plain values, also after JSON made the keys strings."""
        shifts = {int(z): float(energy) for z, energy in data["shifts"].items()}
        return cls(**{**data, "shifts": shifts, "undetermined": tuple(data.get("undetermined", ()))})

    def __str__(self) -> str:
        """Lines for people; nothing if nothing was fitted."""
        if not self.shifts:
            return ""
        largest = max(self.shifts.values(), key=abs)
        text = f"Energies of {len(self.shifts)} elements moved to the new data's, by up to {largest:+.4g} eV"
        if self.slope is not None:
            text += f", and by {self.slope:+.4g} eV for each unit of charge"
        if self.left is not None:
            text += f"; errors of {self.left:.4g} eV/atom are left in the training set"
        if self.left is not None and self.left > BEYOND_CHEMISTRY:
            text += (
                ". That is beyond chemistry: are frames of several levels of theory mixed (declare them by "
                "data.level_of_theory), or structures far from all that the model knows?"
            )
        if self.undetermined:
            unknowns = len(self.shifts) + (self.slope is not None)
            names = ", ".join(chemical_symbols[z] for z in self.undetermined)
            text += (
                f"\nOnly {self.rank} of {unknowns} combinations of them are determined, those of {names} not one by "
                "one: energies of molecules of other compositions mean nothing from now on. Isolated atoms at the "
                "new level among the training frames (data.extra) would determine them."
            )
        return text


def refit(potential: Potential, frames: Sequence[AtomicData], elements: Sequence[int], *, charges: bool) -> Refit:
    """Fits a model's errors per atom by least squares, with the smallest changes where something stays undetermined.

    At another level of theory energies differ mostly by so much for each atom and each electron (5 eV/e between
    GFN2-xTB, whose ionisation energies and electron affinities are all too large, and ωB97X), and a network that has
    to unlearn that forgets the rest.

    Args:
        potential: The model as it begins.
        frames: The training set; those without an energy are passed over.
        elements: Whose energies may change.
        charges: Whether a term linear in the total charge is fitted too, where total charges differ. It is the only
            one that keeps separated fragments additive.
    """
    known = [frame for frame in _drawn(frames) if "energy" in frame and bool(frame.energy.isfinite().all())]
    if not known or not elements:
        return Refit()
    rows = EnergyRows.of(known)
    predicted = np.array([float(p.labels["energy"]) for p in predict(potential, known, labels=("energy",))])
    columns = [rows.counts[:, list(elements)].astype(float)]
    sloped = charges and len(np.unique(rows.charges)) > 1
    if sloped:
        columns.append(rows.charges[:, None].astype(float))
    matrix = np.hstack(columns) / rows.sizes[:, None]
    errors = (rows.energies - predicted) / rows.sizes
    found, _, rank, _ = np.linalg.lstsq(matrix, errors, rcond=None)
    return Refit(
        {number: float(shift) for number, shift in zip(elements, found, strict=False)},
        float(found[-1]) if sloped else None,
        int(rank),
        _open_elements(matrix, int(rank), elements),
        float(np.abs(errors - matrix @ found).mean()),
    )


def _drawn(frames: Sequence[AtomicData]) -> Sequence[AtomicData]:
    """At most `SAMPLE` of them. Every second one may be a cation, so it is not every k-th that is taken."""
    if len(frames) <= SAMPLE:
        return frames
    chosen = np.random.default_rng(0).choice(len(frames), SAMPLE, replace=False)
    return [frames[int(index)] for index in np.sort(chosen)]


def _open_elements(matrix: np.ndarray, rank: int, elements: Sequence[int]) -> tuple[int, ...]:
    """Elements that have a share in combinations on which the rows have no bearing."""
    null = np.linalg.svd(matrix)[2][rank:, : len(elements)]
    return tuple(z for z, share in zip(elements, np.abs(null).sum(axis=0), strict=True) if share > _UNDETERMINED)


def shifted(energies: Mapping[int, float], shifts: Mapping[int, float]) -> dict[int, float]:
    """Energies with shifts added; elements that are in one of both only count as zero in the other."""
    return {z: energies.get(z, 0.0) + shifts.get(z, 0.0) for z in sorted({*energies, *shifts})}


def sloped(reference: ChargeReference | None, slope: float | None) -> ChargeReference | None:
    """What the total charge adds, with ``slope`` (eV/e; None for no change) on top, in the form that it has."""
    if slope is None:
        return reference
    if reference is None:
        return ChargeReference(slope=slope)
    if reference.offsets:
        return replace(reference, offsets={q: e + slope * q for q, e in reference.offsets.items()})
    if reference.ions:
        ions = {z: {q: e + slope * q for q, e in table.items()} for z, table in reference.ions.items()}
        return replace(reference, ions=ions)
    return replace(reference, slope=reference.slope + slope)
