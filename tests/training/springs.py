"""Water molecules held by springs: labels that are cheap, exact and can be learned."""

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator


def water_frames(count, seed=0, forces=True):
    """Water molecules around their minimum in a harmonic well: cheap, exact and learnable labels."""
    rng = np.random.default_rng(seed)
    rest = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    frames = []
    for _ in range(count):
        positions = rest + rng.normal(scale=0.08, size=rest.shape)
        atoms = Atoms("OHH", positions=positions, info={"total_charge": 0, "multiplicity": 1})
        energy, gradient = spring_energy(positions)
        results = {"energy": energy} | ({"forces": -gradient} if forces else {})
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    return frames


def spring_energy(positions, stiffness=20.0):
    """Energy and gradient of springs between all atoms of a water molecule."""
    energy, gradient = -2000.0, np.zeros_like(positions)
    for i, j, length in ((0, 1, 0.96), (0, 2, 0.96), (1, 2, 1.52)):
        vector = positions[j] - positions[i]
        distance = np.linalg.norm(vector)
        energy += 0.5 * stiffness * (distance - length) ** 2
        pull = stiffness * (distance - length) * vector / distance
        gradient[j] += pull
        gradient[i] -= pull
    return energy, gradient
