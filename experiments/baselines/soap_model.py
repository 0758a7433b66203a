"""A Gaussian-approximation potential on SOAP descriptors of dscribe: usage: soap_model.py TRAIN VALIDATION MODEL.npz

E = E0 + sum over atoms i and sparse points m of i's element of c_m (x_i · x_m)^4, with x a normalised SOAP vector
[Bartók, Kondor & Csányi, Phys. Rev. B 87, 184115 (2013)]. c follows from energies and forces by regularised least
squares over the sparse points [Deringer et al., Chem. Rev. 121, 10073 (2021)]. Of three noise levels of forces, the one
of least force error on the validation frames is taken. `SoapCalculator` is the model as an ASE calculator.
"""

import json
import sys
from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from dscribe.descriptors import SOAP
from scipy.linalg import solve_triangular

from eqff.data.atoms import to_atoms
from eqff.data.reading import read_frames

POWER = 4
POINTS = 1000  # sparse points of each element, at most
DESCRIPTOR = {"r_cut": 5.0, "n_max": 6, "l_max": 4, "sigma": 0.4}  # Å
ENERGY_NOISE = 0.001  # eV per atom
FORCE_NOISES = (0.003, 0.01, 0.03)  # eV/Å
JITTER = 1e-9


class Environments:
    """Normalised SOAP vectors of all atoms with their derivatives, one structure at a time."""

    def __init__(self, species: list[str]):
        self.soap = SOAP(species=species, periodic=False, **DESCRIPTOR)

    def __call__(self, atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
        """x (N, F), and its derivative (N, 3 N, F) by the positions of all atoms in 1/Å."""
        slopes, x = self.soap.derivatives(atoms, attach=True, method="analytical")
        size = len(atoms)
        slopes = np.moveaxis(slopes, 2, 1).reshape(size, 3, size, -1).swapaxes(1, 2).reshape(size, 3 * size, -1)
        norm = np.linalg.norm(x, axis=1)[:, None]
        x = x / norm
        along = np.einsum("ijf,if->ij", slopes, x)
        return x, (slopes - along[:, :, None] * x[:, None, :]) / norm[:, :, None]


def kernels(x: np.ndarray, slopes: np.ndarray, numbers: np.ndarray, sparse: dict) -> tuple[np.ndarray, np.ndarray]:
    """Energy (M,) and minus its derivatives (3 N, M) of one structure, by sparse point."""
    energy, forces = [], []
    for element, points in sparse.items():
        own = numbers == element
        similar = x[own] @ points.T
        steps = POWER * similar[:, None, :] ** (POWER - 1) * (slopes[own] @ points.T)
        energy.append((similar**POWER).sum(axis=0))
        forces.append(-steps.sum(axis=0))
    return np.concatenate(energy), np.concatenate(forces, axis=1)


def farthest(points: np.ndarray, count: int) -> np.ndarray:
    """Points of which each is as far as possible from those before it."""
    chosen, distance = [0], np.full(len(points), np.inf)
    while len(chosen) < min(count, len(points)):
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(distance.argmax()))
    return points[chosen]


class SoapCalculator(Calculator):
    """The fitted model."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, path: str):
        super().__init__()
        stored = np.load(path)
        self.sparse = {int(name[1:]): stored[name] for name in stored.files if name.startswith("z")}
        self.weights, self.mean = stored["weights"], float(stored["mean"])
        self.environments = Environments(json.loads(str(stored["species"])))

    def calculate(self, atoms: Atoms, properties: tuple = ("energy",), system_changes: tuple = ()) -> None:
        """Energy in eV and forces in eV/Å."""
        super().calculate(atoms, properties, system_changes)
        energy, forces = kernels(*self.environments(atoms), atoms.numbers, self.sparse)
        self.results["energy"] = self.mean + float(energy @ self.weights)
        self.results["forces"] = (forces @ self.weights).reshape(-1, 3)


def blocks(images: list[Atoms], environments: Environments, sparse: dict) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Kernels of each structure; derivatives of descriptors are never all in memory."""
    for atoms in images:
        yield kernels(*environments(atoms), atoms.numbers, sparse)


def main(train: str, validation: str, target: str) -> None:
    """Fits, chooses the noise of forces, writes the model."""
    images, held_back = ([to_atoms(frame) for frame in read_frames(path)] for path in (train, validation))
    species = sorted({symbol for atoms in images for symbol in atoms.symbols})
    environments, size = Environments(species), len(images[0])
    every = np.concatenate([environments.soap.create(atoms) for atoms in images])
    every /= np.linalg.norm(every, axis=1)[:, None]
    numbers = np.concatenate([atoms.numbers for atoms in images])
    sparse = {int(z): farthest(every[numbers == z], POINTS) for z in np.unique(numbers)}
    energy, forces = map(np.stack, zip(*blocks(images, environments, sparse), strict=True))
    _, checked = map(np.stack, zip(*blocks(held_back, environments, sparse), strict=True))
    labels = np.array([atoms.get_potential_energy() for atoms in images])
    true_forces, own = (np.stack([a.get_forces().ravel() for a in part]) for part in (images, held_back))
    roots = [np.linalg.cholesky((p @ p.T) ** POWER + JITTER * np.eye(len(p))).T for p in sparse.values()]
    prior = np.zeros((energy.shape[1], energy.shape[1]))
    ends = np.cumsum([len(root) for root in roots])
    for end, root in zip(ends, roots, strict=True):
        prior[end - len(root) : end, end - len(root) : end] = root
    best = np.inf
    for noise in FORCE_NOISES:
        scale = ENERGY_NOISE * size
        rows = np.concatenate([energy / scale, forces.reshape(-1, energy.shape[1]) / noise, prior])
        wanted = [(labels - labels.mean()) / scale, true_forces.ravel() / noise, np.zeros(len(prior))]
        # of the triangle alone, with the right-hand side as one more column: half the time and memory of both factors
        r = np.linalg.qr(np.column_stack([rows, np.concatenate(wanted)]), mode="r")
        weights = solve_triangular(r[:-1, :-1], r[:-1, -1])
        error = float(np.sqrt(np.mean((checked @ weights - own) ** 2)))
        print(f"noise {noise} eV/Å: validation force RMSE {1000 * error:.2f} meV/Å", flush=True)
        if error < best:
            best = error
            named = {f"z{z}": points for z, points in sparse.items()}
            np.savez(target, weights=weights, mean=labels.mean(), species=json.dumps(species), **named)


if __name__ == "__main__":
    main(*sys.argv[1:])
