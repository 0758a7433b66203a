"""ASE calculators that tests use as those of other packages."""

import numpy as np
import torch
from ase.calculators.calculator import Calculator, PropertyNotImplementedError
from ase.calculators.lj import LennardJones


def springs(strength=1.0, **settings):
    """A function that makes a calculator, as packages often have."""
    return Springs(strength=strength, **settings)


def sets_default_dtype():
    """Some packages set torch's default dtype for the whole process."""
    torch.set_default_dtype(torch.float64)
    return Springs(strength=1.0)


class Springs(Calculator):
    """E = strength/2 sum of |r|² about the centre + 0.25 Q + 0.5 (2S+1); charge and multiplicity as settings."""

    implemented_properties = ["energy", "forces", "charges", "dipole"]
    default_parameters = {"strength": 1.0, "charge": None, "multiplicity": None, "verbosity": 1}

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        given = self.parameters
        away = atoms.positions - atoms.positions.mean(axis=0)
        energy = 0.5 * given["strength"] * (away**2).sum() + 0.25 * given["charge"] + 0.5 * given["multiplicity"]
        self.results = {"energy": energy, "forces": -given["strength"] * away}
        self.results["charges"] = np.full(len(atoms), given["charge"] / len(atoms))
        self.results["dipole"] = np.arange(3.0)


class OfInfo(Calculator):
    """Reads charge and spin from ``atoms.info``, as published models do; ASE does not see that they have changed."""

    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        energy = float(atoms.info["charge"] + 10 * atoms.info["spin"])
        self.results = {"energy": energy, "forces": np.zeros((len(atoms), 3))}


class Fails(Calculator):
    """Does what calculators do on bad days."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, how="raise", at=0):
        super().__init__()
        self.how, self.left = how, at

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.left -= 1
        if self.left < 0 and self.how == "raise":
            raise ZeroDivisionError("SCF not converged")
        if self.left < 0 and self.how == "lacks":
            raise PropertyNotImplementedError(properties[0])
        columns = 4 if self.how == "wide" else 3
        energy = np.nan if self.how == "nan" and self.left < 0 else 1.0
        self.results = {"energy": np.array([energy]), "forces": np.zeros((len(atoms), columns))}


class NoForces(Calculator):
    """Energies alone."""

    implemented_properties = ["energy"]


def lennard_jones(**settings):
    """With stress, for every periodicity."""
    return LennardJones(**{"sigma": 1.2, "epsilon": 0.05, "rc": 4.0, "smooth": True, **settings})
