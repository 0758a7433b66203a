"""Checks of derivatives: forces, virial, stress and second derivatives against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.derivatives import differentiate
from eqff.potential import Potential
from eqff.testing.base import Battery
from eqff.testing.compare import assert_close
from eqff.testing.structures import displaced, transformed
from eqff.testing.tolerances import FINITE_DIFFERENCE, FINITE_DIFFERENCE_STEP, INVARIANCE, SECOND_DERIVATIVE

NUM_DIRECTIONS = 2
STENCIL = {-2: 1 / 12, -1: -2 / 3, 1: 2 / 3, 2: -1 / 12}
"""Five-point central difference: steps and weights; exact to the fourth power of the step."""


def central_difference(function: Callable[[float], Tensor], step: float = FINITE_DIFFERENCE_STEP) -> Tensor:
    """The derivative of a function at zero."""
    return sum(weight * function(multiple * step) for multiple, weight in STENCIL.items()) / step


class DerivativeChecks(Battery):
    """What comes out as a derivative is one, in every periodicity, to second order."""

    def _slopes(self, potential: Potential, moved: Callable[[float], Sequence[Atoms]]) -> Tensor:
        """Derivatives at zero of the energies of structures, (B,); every step in one batch, with its own neighbours."""
        points = [moved(multiple * FINITE_DIFFERENCE_STEP) for multiple in STENCIL]
        with torch.no_grad():
            energies = potential.energy(self.graph(potential, [atoms for point in points for atoms in point]))[0]
        weights = energies.new_tensor(list(STENCIL.values()))
        return weights @ energies.reshape(len(points), -1) / FINITE_DIFFERENCE_STEP

    def test_forces_are_minus_the_gradient(self) -> None:
        """Along random directions, with neighbours looked for anew at each point."""
        potential, structures = self.potential(), list(self.structures().values())
        prediction, rng = self.predict(potential, structures), np.random.default_rng(21)
        sizes = [len(atoms) for atoms in structures]
        for _ in range(NUM_DIRECTIONS):
            directions = [rng.uniform(-1, 1, (size, 3)) for size in sizes]

            def moved(step: float, directions: list[np.ndarray] = directions) -> list[Atoms]:
                return [displaced(atoms, step * d) for atoms, d in zip(structures, directions, strict=True)]

            slopes = self._slopes(potential, moved)
            for name, slope, forces, direction in zip(
                self.structures(), slopes, prediction["forces"].split(sizes), directions, strict=True
            ):
                along = -(forces * torch.as_tensor(direction)).sum()
                scale = max(float(forces.abs().max()), 1e-1)
                assert_close(along / scale, slope / scale, FINITE_DIFFERENCE, f"forces, {name}", 1.0)

    def test_virial_and_stress_are_strain_derivatives(self) -> None:
        """Positions and cell strained together; stress is minus virial by volume, where there is one."""
        potential, structures = self.potential(), list(self.structures().values())
        prediction, rng = self.predict(potential, structures), np.random.default_rng(22)
        for _ in range(NUM_DIRECTIONS):
            strain = rng.uniform(-1, 1, (3, 3))
            strain = 0.5 * (strain + strain.T)

            def moved(step: float, strain: np.ndarray = strain) -> list[Atoms]:
                return [transformed(atoms, np.eye(3) + step * strain) for atoms in structures]

            slopes = self._slopes(potential, moved)
            for name, slope, virial in zip(self.structures(), slopes, prediction["virial"], strict=True):
                along = -(virial * torch.as_tensor(strain)).sum()
                scale = max(float(virial.abs().max()), 1e-1)
                assert_close(along / scale, slope / scale, FINITE_DIFFERENCE, f"virial, {name}", 1.0)
        for atoms, stress, virial in zip(structures, prediction["stress"], prediction["virial"], strict=True):
            volume = abs(np.linalg.det(np.asarray(atoms.cell)))
            expected = -virial / volume if volume else torch.zeros(3, 3)
            assert_close(stress, expected, INVARIANCE[torch.float64], "stress")

    def test_force_loss_gradient_by_parameters(self) -> None:
        """What training on forces differentiates: the parameter gradient of a force projection."""
        potential, graph, weights = self._force_projection()
        parameters = [p for p in potential.parameters() if p.requires_grad]
        if not parameters:
            return
        rng = torch.Generator().manual_seed(23)
        directions = [torch.randn(p.shape, generator=rng, dtype=p.dtype) * p.detach().abs().mean() for p in parameters]

        def projection(step: float) -> Tensor:
            with torch.no_grad():
                for parameter, direction in zip(parameters, directions, strict=True):
                    parameter += step * direction
                value = (differentiate(potential.energy, graph)["forces"] * weights).sum()
                for parameter, direction in zip(parameters, directions, strict=True):
                    parameter -= step * direction
            return value

        expected = central_difference(projection)
        loss = (differentiate(potential.energy, graph, create_graph=True)["forces"] * weights).sum()
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True) if g is not None)
        assert_close(torch.as_tensor(slope), expected, SECOND_DERIVATIVE, "parameter gradient of forces")

    def test_force_gradient_by_positions(self) -> None:
        """The Hessian along a direction, against differences of forces."""
        potential, graph, weights = self._force_projection()
        rng = torch.Generator().manual_seed(24)
        direction = torch.randn(graph.positions.shape, generator=rng, dtype=torch.float64)

        def projection(step: float) -> Tensor:
            moved = graph.deformed(graph.positions + step * direction)
            return (differentiate(potential.energy, moved)["forces"] * weights).sum()

        positions = graph.positions.clone().requires_grad_()
        energy = potential.energy(graph.deformed(positions))[0].sum()
        forces = -torch.autograd.grad(energy, positions, create_graph=True)[0]
        slope = (torch.autograd.grad((forces * weights).sum(), positions)[0] * direction).sum()
        assert_close(slope, central_difference(projection), SECOND_DERIVATIVE, "position gradient of forces")

    def _force_projection(self) -> tuple[Potential, AtomicGraph, Tensor]:
        """The potential, a batch, and random weights for its forces (N, 3)."""
        potential = self.potential()
        graph = self.graph(potential, list(self.structures().values()))
        rng = torch.Generator().manual_seed(25)
        return potential, graph, torch.randn(graph.positions.shape, generator=rng, dtype=torch.float64)
