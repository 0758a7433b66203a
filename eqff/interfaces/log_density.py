"""The Boltzmann distribution of a system as a differentiable log-density, for generative models of configurations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from ase import Atoms, units
from torch import Tensor

from eqff.corrections import corrected
from eqff.data.atomic_data import AtomicData
from eqff.data.atoms import from_atoms
from eqff.data.batching import collate
from eqff.data.convert import Multiplicity
from eqff.data.graph import graph_from_batch
from eqff.data.neighbours import add_neighbours
from eqff.errors import DataError
from eqff.evaluation.predictions import without_labels
from eqff.interfaces.ase import as_potential
from eqff.potential import Potential
from eqff.ranges import Positive
from eqff.validation import check_value


class LogDensity:
    """log p(x) = -E(x) / (k_B T) + constant, of configurations x of one system in the canonical ensemble.

    It is what Boltzmann generators [Noé, Olsson, Köhler & Wu, Science 365, eaaw1147 (2019)] and other samplers take as
    their target: a function of positions that can be differentiated any number of times and that fits into a batch. The
    constant, minus the logarithm of the partition function, is not known. Positions are Cartesian and not wrapped: in a
    periodic system, moving an atom by a lattice vector changes nothing. It is no module, so that no optimizer of a flow
    takes the model's weights for the flow's; ``model.requires_grad_(False)`` saves the work of gradients by them.

    Args:
        potential: The model, or where to find it (see `eqff.load`); any ASE calculator by
            `eqff.interfaces.calculator_energy.calculator_potential`, with first derivatives only.
        system: Elements, cell, periodicity, charge and multiplicity; its positions are not read.
        temperature: K.
        total_charge: e, where ``system`` does not say.
        multiplicity: 2S+1, where ``system`` does not say, or "lowest".
        device: Where to compute; by default where the potential is.
        dtype: Precision; by default that of the potential.

    Attributes:
        kt: k_B T in eV.
        num_atoms: N.

    Raises:
        DataError: Charge or multiplicity are nowhere given, or impossible.
        ModelError: The model does not cover an element, or gives differences to a base.
    """

    def __init__(
        self,
        potential: Potential | str | Path | Sequence[str | Path],
        system: Atoms,
        temperature: float,
        *,
        total_charge: float | None = None,
        multiplicity: Multiplicity | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ):
        check_value(temperature, Positive, "temperature")
        self.potential = corrected(as_potential(potential, device, dtype))
        frame = from_atoms(system, total_charge=total_charge, multiplicity=multiplicity, labels=())
        self.potential.require_elements(frame.numbers.to(self._device))
        self.kt = units.kB * temperature
        self.num_atoms = frame.num_nodes
        self._system = without_labels(frame)

    def __call__(self, positions: Tensor) -> Tensor:
        """log p up to a constant, of B configurations.

        Args:
            positions: Å, (B, N, 3) or (B, 3 N).

        Returns:
            (B,), float64; differentiable with respect to the positions.

        Raises:
            DataError: Positions of another shape, or that are not finite numbers.
        """
        return -self.reduced_energy(positions)

    def reduced_energy(self, positions: Tensor) -> Tensor:
        """u = E / (k_B T) of B configurations, (B,), float64; arguments and errors as of a call."""
        placed = self._placed(positions)
        if not len(placed):
            return placed.new_zeros(0, dtype=torch.float64)
        frames = [self._frame(one) for one in placed.detach().cpu().double()]
        batch = collate(frames).to(self._device)
        graph = graph_from_batch(batch, self.potential.dtype)
        self.potential.field_guard.check(graph)
        self.potential.external_guard.check(graph)
        moved = placed.to(graph.positions).reshape(-1, 3)
        return self.potential.energy(graph.deformed(moved))[0] / self.kt

    def score(self, positions: Tensor) -> Tensor:
        """The gradient of log p, forces by k_B T, in 1/Å and the shape of the positions; not differentiable again."""
        with torch.enable_grad():
            at = positions.detach().requires_grad_()
            return torch.autograd.grad(self(at).sum(), at)[0]

    @property
    def _device(self) -> torch.device:
        return next(self.potential.buffers()).device

    def _placed(self, positions: Tensor) -> Tensor:
        """Positions as (B, N, 3), checked."""
        size = (self.num_atoms, 3)
        if tuple(positions.shape[1:]) not in (size, (3 * self.num_atoms,)) or not positions.is_floating_point():
            raise DataError(
                f"Positions have shape {tuple(positions.shape)} and type {positions.dtype}; needed are floating "
                f"numbers (B, {self.num_atoms}, 3) or (B, {3 * self.num_atoms})."
            )
        if not bool(positions.isfinite().all()):
            raise DataError("Positions hold numbers that are not finite: their log-density is not defined.")
        return positions.reshape(-1, *size)

    def _frame(self, positions: Tensor) -> AtomicData:
        frame = self._system.clone()
        frame.positions = positions
        return add_neighbours(frame, self.potential.neighbour_lists)
