"""The watch on a running simulation: why it can't go on, and because of which atom."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units

from eqff.simulation.settings import SimulationSettings

_REMEDY = "The model is most likely beyond what it was trained on, or the timestep is too long."
_OF_TRAINING = 0.5  # share of the shortest distance in training, below which a model knows nothing about two atoms


@dataclass(frozen=True)
class Limits:
    """What a run may not exceed.

    Attributes:
        force: eV/Å, on any atom.
        temperature: K.
        atom_energy: eV, kinetic, of any atom.
        distance: Å, between any two atoms; 0 for no limit.
        uncertainty: eV/Å, of the force on any atom; None for no limit.
    """

    force: float
    temperature: float
    atom_energy: float
    distance: float
    uncertainty: float | None = None

    @classmethod
    def of(cls, settings: SimulationSettings, shortest_in_training: float | None) -> Limits:
        """Those of the settings, and for what they leave open, those that follow from the model's training."""
        distance = settings.min_distance
        if distance is None:
            distance = _OF_TRAINING * (shortest_in_training or 0.0)
        energy = settings.max_atom_energy or 20 * units.kB * settings.hottest
        return cls(settings.max_force, settings.hottest, energy, distance, settings.max_uncertainty)

    def trouble(self, atoms: Atoms, kelvin: float) -> str:
        """What is wrong, else an empty text.

        Args:
            atoms: With their calculator's results.
            kelvin: Temperature.
        """
        forces = atoms.get_forces(apply_constraint=False)
        if self._hold(atoms, forces, kelvin):
            return ""
        forces = np.linalg.norm(forces, axis=1)
        broken = self._finite(atoms, forces) or self._doubt(atoms)
        for check in (broken, self._force(atoms, forces), self._heat(atoms, kelvin)):
            if check:
                return f"{check} {_REMEDY}"
        close = self._distance(atoms)
        return f"{close} {_REMEDY}" if close else ""

    def _hold(self, atoms: Atoms, forces: np.ndarray, kelvin: float) -> bool:
        """Whether nothing is wrong, in a few operations; what is, and where, is looked for only if something may be."""
        momenta = atoms.get_momenta()
        fastest = 0.5 * (np.einsum("ij,ij->i", momenta, momenta) / atoms.get_masses()).max()
        strongest = math.sqrt(np.einsum("ij,ij->i", forces, forces).max())
        # comparisons with what is not a number are false
        within = strongest <= self.force and kelvin <= self.temperature and fastest <= self.atom_energy
        certain = self.uncertainty is None or not self._doubt(atoms)
        finite = math.isfinite(atoms.get_potential_energy())
        apart = self.distance <= 0 or atoms.calc.shortest_distance()[0] >= self.distance
        return bool(within and certain and finite and apart)

    def _finite(self, atoms: Atoms, forces: np.ndarray) -> str:
        bad = np.flatnonzero(~np.isfinite(forces))
        if len(bad):
            return f"the forces on {len(bad)} atoms, first {_name(atoms, bad[0])}, are not finite."
        return "" if np.isfinite(atoms.get_potential_energy()) else "the energy is not finite."

    def _force(self, atoms: Atoms, forces: np.ndarray) -> str:
        worst = int(forces.argmax())
        if forces[worst] <= self.force:
            return ""
        return f"the force on {_name(atoms, worst)} is {forces[worst]:.4g} eV/Å, above max_force={self.force:g}."

    def _doubt(self, atoms: Atoms) -> str:
        if self.uncertainty is None:
            return ""
        doubts = atoms.calc.results["forces_uncertainty"]
        worst = int(doubts.argmax())
        if doubts[worst] <= self.uncertainty:
            return ""
        return (
            f"the uncertainty of the force on {_name(atoms, worst)} is {doubts[worst]:.4g} eV/Å, above "
            f"max_uncertainty={self.uncertainty:g}."
        )

    def _heat(self, atoms: Atoms, kelvin: float) -> str:
        each = 0.5 * (atoms.get_momenta() ** 2).sum(axis=1) / atoms.get_masses()
        fastest = int(each.argmax())
        who = f"{_name(atoms, fastest)} has the most kinetic energy, {each[fastest]:.4g} eV"
        if not np.isfinite(kelvin):
            return f"the momenta are not finite, first of {_name(atoms, np.flatnonzero(~np.isfinite(each))[0])}."
        if kelvin > self.temperature:
            return f"the temperature is {kelvin:.5g} K, above {self.temperature:g} K ({who})."
        return f"{who}, above max_atom_energy={self.atom_energy:.4g}." if each[fastest] > self.atom_energy else ""

    def _distance(self, atoms: Atoms) -> str:
        length, first, second = atoms.calc.shortest_distance()
        if length >= self.distance:
            return ""
        return (
            f"{_name(atoms, first)} and {_name(atoms, second)} are {length:.3f} Å apart, closer than "
            f"min_distance={self.distance:.3g}."
        )


def _name(atoms: Atoms, index: int) -> str:
    return f"atom {int(index)} ({atoms[int(index)].symbol})"
