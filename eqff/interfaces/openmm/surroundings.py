"""The particles around a modelled region, as external charges: nearest images, and a smooth end at a cutoff."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eqff.errors import ModelError
from eqff.interfaces.openmm.cells import half_width, nearest, whole_molecules


@dataclass(frozen=True)
class Surroundings:
    """Which particles are external charges.

    Molecules fade as wholes, by the distance of their centre from that of the region, so that no charge is left alone:
    their charges are multiplied by a polynomial that goes from 1 to 0 with two continuous derivatives.

    Attributes:
        region: Particles that the model describes, (N,).
        particles: Of the external charges, (K,), those of one molecule after those of another.
        charges: e, (K,).
        molecules: To which molecule each belongs, (K,), 0 to G - 1, ascending.
        fade: Å, where charges begin to fade and where they have ended; None for all charges, without a cutoff.
        width: Å, of all external charges' densities; 0 for points.
        before: Of all particles, how molecules hold together: see `eqff.interfaces.openmm.cells.whole_molecules`, (n,).
    """

    region: np.ndarray
    particles: np.ndarray
    charges: np.ndarray
    molecules: np.ndarray
    fade: tuple[float, float] | None
    width: float
    before: np.ndarray

    def around(self, region: np.ndarray, positions: np.ndarray, box: np.ndarray | None) -> Around:
        """The charges that the region sees.

        Args:
            region: Positions of its atoms as one piece, Å, (N, 3).
            positions: Of all particles, Å, (n, 3).
            box: Lattice vectors as rows in Å, (3, 3); None for none.

        Raises:
            ModelError: The cutoff is beyond the nearest images, or there is none in a box.
        """
        self._require_images(box)
        counts = np.bincount(self.molecules)
        first = np.cumsum(counts) - counts
        places = whole_molecules(positions, self.before, box)[self.particles]
        centres = np.add.reduceat(places, first, axis=0) / counts[:, None]
        apart = centres - region.mean(axis=0)
        towards = nearest(apart, box)
        places = places + (towards - apart)[self.molecules]
        distances = np.linalg.norm(towards, axis=1)
        shares, slopes = self._shares(distances)
        pull = (slopes / np.maximum(distances, 1e-9))[:, None] * towards
        seen = (shares > 0)[self.molecules]
        return Around(self, places[seen], self.charges[seen] * shares[self.molecules][seen], seen, pull, counts)

    def _shares(self, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """By which charges are multiplied, (G,), and the derivatives by the distance in 1/Å."""
        if self.fade is None:
            return np.ones_like(distances), np.zeros_like(distances)
        begin, end = self.fade
        x = np.clip((distances - begin) / (end - begin), 0.0, 1.0)
        return 1 - x**3 * (10 - 15 * x + 6 * x**2), -30 * x**2 * (1 - x) ** 2 / (end - begin)

    def _require_images(self, box: np.ndarray | None) -> None:
        if box is None:
            return
        if self.fade is None or self.fade[1] > half_width(box):
            end = "none is given" if self.fade is None else f"it is {self.fade[1]:.2f} Å"
            raise ModelError(
                f"In a periodic box, the cutoff of external charges has to be within half of its width, which is "
                f"{half_width(box):.2f} Å; {end}. Give a smaller cutoff, or take a larger box."
            )


@dataclass(frozen=True)
class Around:
    """The charges that a region sees in one geometry.

    Attributes:
        of: What they are chosen from.
        positions: Å, (M, 3), the nearest images of whole molecules.
        charges: e, as far as they have not faded, (M,).
        seen: Which of all external charges these are, (K,) bool.
        pull: Derivative of each molecule's share by its centre, 1/Å, (G, 3); by that of the region it is the opposite.
        counts: Charges of each molecule, (G,).
    """

    of: Surroundings
    positions: np.ndarray
    charges: np.ndarray
    seen: np.ndarray
    pull: np.ndarray
    counts: np.ndarray

    @property
    def widths(self) -> np.ndarray:
        """Å, (M,)."""
        return np.full(len(self.charges), self.of.width)

    def forces(self, on_charges: np.ndarray, potentials: np.ndarray, num_particles: int) -> np.ndarray:
        """Forces on all particles by the external charges' forces and by their fading, eV/Å, (n, 3).

        Args:
            on_charges: At fixed charges, eV/Å, (M, 3).
            potentials: At the charges, dE/dq in V, (M,).
            num_particles: n.
        """
        everything = self.of
        particles, molecules = everything.particles[self.seen], everything.molecules[self.seen]
        forces = np.zeros((num_particles, 3))
        forces[particles] = on_charges
        energies = np.bincount(molecules, potentials * everything.charges[self.seen], len(self.counts))
        slopes = energies[:, None] * self.pull  # dE by the centre of each molecule
        forces[particles] -= (slopes / self.counts[:, None])[molecules]
        forces[everything.region] += slopes.sum(axis=0) / len(everything.region)
        return forces
