"""Conceptual density functional theory from three charge states of one geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from ase.data import chemical_symbols

from eqff.data.atomic_data import AtomicData
from eqff.data.electrons import check_state, lowest_multiplicity
from eqff.data.graph import STATED
from eqff.errors import DataError, ModelError
from eqff.evaluation.predictions import Progress, predict
from eqff.interfaces.whole import require_whole
from eqff.potential import Potential

STEPS = (-1, 0, 1)
"""Added to the total charge: with one electron more, as it is, with one less."""

SAME_GEOMETRY = 1e-4  # Å
SAME_ENERGY = 1e-4  # eV; single precision leaves less, and no molecule has I and A as small


@dataclass(frozen=True)
class Reactivity:
    """Vertical energies and charges of one geometry with charges Q - 1, Q and Q + 1, and what follows from them.

    Finite differences over whole electrons [Parr & Yang, Density-Functional Theory of Atoms and Molecules, 1989].

    Attributes:
        place: The structure, for people.
        symbols: Elements of its N atoms.
        total_charges: e, (3,).
        multiplicities: 2S + 1 of each state, (3,); 0 for a state that is not known.
        energies: eV, (3,); NaN where one is not known.
        charges: Atomic charges of each state in e, (3, N); None for a model without.
    """

    place: str
    symbols: tuple[str, ...]
    total_charges: tuple[int, int, int]
    multiplicities: tuple[int, int, int]
    energies: tuple[float, float, float]
    charges: np.ndarray | None = None

    @property
    def ionization_potential(self) -> float:
        """I = E(Q + 1) - E(Q), eV."""
        return self.energies[2] - self.energies[1]

    @property
    def electron_affinity(self) -> float:
        """A = E(Q) - E(Q - 1), eV: positive where the extra electron is bound."""
        return self.energies[1] - self.energies[0]

    @property
    def electronegativity(self) -> float:
        """χ = (I + A)/2, eV, minus the chemical potential [Mulliken, J. Chem. Phys. 2, 782 (1934)]."""
        return 0.5 * (self.ionization_potential + self.electron_affinity)

    @property
    def hardness(self) -> float:
        """η = I - A, eV. Parr & Pearson [J. Am. Chem. Soc. 105, 7512 (1983)] have half of it."""
        return self.ionization_potential - self.electron_affinity

    @property
    def electrophilicity(self) -> float:
        """ω = χ²/(2 η), eV [Parr, Szentpály & Liu, J. Am. Chem. Soc. 121, 1922 (1999)]; NaN unless η > 0."""
        return self.electronegativity**2 / (2.0 * self.hardness) if self.hardness > 0 else float("nan")

    @property
    def fukui_plus(self) -> np.ndarray | None:
        """f⁺ = q(Q) - q(Q - 1): where an added electron goes, (N,), summing to 1 [Yang & Mortier, JACS 108, 5708]."""
        return None if self.charges is None else self.charges[1] - self.charges[0]

    @property
    def fukui_minus(self) -> np.ndarray | None:
        """f⁻ = q(Q + 1) - q(Q): where a removed electron comes from, (N,), summing to 1."""
        return None if self.charges is None else self.charges[2] - self.charges[1]

    @property
    def fukui_zero(self) -> np.ndarray | None:
        """f⁰ = (f⁺ + f⁻)/2, (N,), for attack by radicals."""
        return None if self.charges is None else 0.5 * (self.charges[2] - self.charges[0])


def reactivity(
    potential: Potential,
    frames: Sequence[AtomicData],
    *,
    multiplicities: tuple[int, int] | Literal["lowest"],
    batch_size: int = 32,
    progress: Progress | None = None,
) -> list[Reactivity]:
    """Predicts each structure in its own state and with one electron more and less, at its geometry.

    Args:
        potential: The model.
        frames: Structures; their charge and multiplicity are the middle state.
        multiplicities: 2S + 1 with one electron more (Q - 1) and with one less (Q + 1), or "lowest" for the lowest that
            each electron count allows, which is not always the ground state.
        batch_size: Predictions at a time.
        progress: Is told the number of predictions done after each batch.

    Returns:
        One for each frame; charges where the model has them.

    Raises:
        DataError: A multiplicity that the electron count does not allow, or no electron left to remove.
        ModelError: The model has the same energy in every charge state, or gives differences to a base.
    """
    require_whole(potential)
    states = [_in_state(frame, step, multiplicities) for frame in frames for step in STEPS]
    labels = ("energy", "charges") if "charges" in potential.predicts else ("energy",)
    predictions = predict(potential, states, labels=labels, batch_size=batch_size, progress=progress)
    results = []
    for start in range(0, len(states), 3):
        three, found = states[start : start + 3], predictions[start : start + 3]
        charges = np.stack([p.labels["charges"] for p in found]) if "charges" in labels else None
        energies = [float(prediction.labels["energy"]) for prediction in found]
        _require_differences(energies, three[1].place)
        results.append(_collected(three, round(float(three[1].total_charge)), energies, charges))
    return results


def _require_differences(energies: Sequence[float], place: str) -> None:
    """Raises ModelError if the energy does not depend on the charge, whatever parts read it."""
    if max(energies) - min(energies) < SAME_ENERGY:
        raise ModelError(
            f"{place}: the model has the same energy, {energies[1]:.6g} eV, in all three charge states: nothing in it "
            "follows from the total charge. Take one that does, as model=aimnet_nse, or a backbone with "
            "charge_and_spin: true."
        )


def labelled_reactivity(frames: Sequence[AtomicData]) -> dict[str, Reactivity]:
    """The same from labels, for data sets that hold one geometry in several charge states.

    Args:
        frames: Those of one ``group`` (for example by a key ``mol_id``) belong together.

    Returns:
        By group, for each with at least two of the states -1, 0 and +1; what needs a missing one is NaN.

    Raises:
        DataError: Frames of one group and charge state appear twice, or differ in their geometry.
    """
    groups: dict[str, dict[int, AtomicData]] = {}
    for frame in frames:
        states = groups.setdefault(frame.group, {})
        charge = round(float(frame.total_charge))
        if states.setdefault(charge, frame) is not frame:
            raise DataError(f"{frame.place}: the charge state {charge:+d} appears twice in group '{frame.group}'.")
    return {name: _from_labels(states) for name, states in groups.items() if len(states.keys() & set(STEPS)) > 1}


def _from_labels(states: dict[int, AtomicData]) -> Reactivity:
    first = next(iter(states.values()))
    for frame in states.values():
        same = frame.num_nodes == first.num_nodes and bool((frame.numbers == first.numbers).all())
        if not same or float((frame.positions - first.positions).abs().max()) > SAME_GEOMETRY:
            raise DataError(f"{frame.place}: group '{frame.group}' has another geometry at {first.place}.")
    three = [states.get(step) for step in STEPS]
    energies = [float(frame.energy) if frame is not None and frame.has("energy") else float("nan") for frame in three]
    known = all(frame is not None and frame.has("charges") for frame in three)
    charges = np.stack([frame.charges.double().numpy() for frame in three]) if known else None
    return _collected(three, 0, energies, charges)


def _collected(
    three: Sequence[AtomicData | None], middle: int, energies: Sequence[float], charges: np.ndarray | None
) -> Reactivity:
    known = next(frame for frame in (three[1], *three) if frame is not None)
    return Reactivity(
        place=known.place,
        symbols=tuple(chemical_symbols[z] for z in known.numbers.tolist()),
        total_charges=tuple(middle + step for step in STEPS),
        multiplicities=tuple(0 if frame is None else round(float(frame.multiplicity)) for frame in three),
        energies=tuple(energies),
        charges=charges,
    )


def _in_state(frame: AtomicData, step: int, multiplicities: tuple[int, int] | str) -> AtomicData:
    numbers, charge = frame.numbers.numpy(), round(float(frame.total_charge)) + step
    if step == 0:
        multiplicity = round(float(frame.multiplicity))
    elif multiplicities == "lowest":
        multiplicity = lowest_multiplicity(numbers, charge, frame.place)
    else:
        multiplicity = multiplicities[0 if step < 0 else 1]
    check_state(numbers, charge, multiplicity, f"{frame.place} with {step:+d} e" if step else frame.place)
    kept = {name: frame[name] for name in STATED if name in frame}
    changed = AtomicData(**kept, num_nodes=frame.num_nodes, source=frame.source, frame=frame.frame, group=frame.group)
    changed.total_charge = torch.tensor([float(charge)], dtype=torch.float64)
    changed.multiplicity = torch.tensor([float(multiplicity)], dtype=torch.float64)
    return changed
