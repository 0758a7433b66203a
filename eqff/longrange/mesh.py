"""The smooth part of the Coulomb sum on a mesh, N log N: smooth particle mesh Ewald.

[Essmann et al., J. Chem. Phys. 103, 8577 (1995)], with the influence functions of `eqff.longrange.lattice` for slabs
and wires too. Everything is a differentiable operation of PyTorch, so derivatives by positions, cells and charges exist
to the order that the splines allow (order - 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from eqff.errors import ModelError
from eqff.kernels.mesh import plain_read, plain_spread, read, spread, takes
from eqff.longrange.lattice import Lattice
from eqff.longrange.padding import Padding
from eqff.longrange.splines import spline_transform, spline_weights
from eqff.longrange.tuning import Splitting, mesh_spacing
from eqff.nn.reduce import segment_sum

ORDER = 6
"""Of the splines; the rule in `eqff.longrange.tuning.mesh_spacing` belongs to it."""


@dataclass(frozen=True)
class MeshSum:
    """Bound to the geometry of P structures, which share the number of mesh points.

    Attributes:
        atoms: Which atoms of the batch they have, (M,).
        structures: Which structures of the batch are summed, (P,).
        structure: Of each atom, (M,), from 0 to P - 1.
        points: Mesh point of each atom and spline, flattened over structures, (M, order³).
        splines: Shares of the charge along each direction, (M, 3, 1, order).
        influence: What turns the transform of the charges into that of the potential, (P, x, y, z // 2 + 1).
        shape: Mesh points of a cell.
        num_atoms: Of the whole batch.
    """

    has_matrix: ClassVar[bool] = False

    atoms: Tensor
    structures: Tensor
    structure: Tensor
    points: Tensor
    splines: Tensor
    influence: Tensor
    shape: tuple[int, int, int]
    num_atoms: int

    @classmethod
    def bind(
        cls, padding: Padding, positions: Tensor, cell: Tensor, pbc: Tensor, splitting: Splitting, accuracy: float
    ) -> MeshSum:
        """From positions (P, n, 3), cells (P, 3, 3) and pbc (P, 3) of structures with a periodic direction."""
        lattice = Lattice.of(cell, pbc, positions, padding.mask, splitting.cutoff)
        shape = mesh_shape(lattice.cell, mesh_spacing(splitting, accuracy))
        structure, place = padding.mask.nonzero(as_tuple=True)
        fractional = lattice.fractional(positions, padding.mask)[structure, place]
        points, splines = _places(fractional, structure, shape)
        influence = mesh_influence(lattice, splitting.alpha, shape, ORDER)
        atoms = padding.index[structure, place]
        return cls(atoms, padding.structures, structure, points, splines, influence, shape, padding.num_atoms)

    def potential(self, charges: Tensor) -> Tensor:
        """As `EwaldSum.potential`."""
        mesh = mesh_potential(self._density(charges), self.influence).flatten()
        potential = (read if takes(self.splines) else plain_read)(mesh, self.splines, self.points)
        return segment_sum(potential.flatten(), self.atoms, self.num_atoms)

    def energy(self, charges: Tensor) -> Tensor:
        """As `EwaldSum.energy`."""
        return mesh_energy(self._density(charges), self.influence)

    def matrix(self) -> Tensor:
        """Never formed: a structure that is large enough for a mesh is too large for a dense matrix.

        Raises:
            ModelError: Always.
        """
        largest = int(torch.bincount(self.structure).max())
        raise ModelError(
            f"A structure of {largest} atoms is summed on a mesh, which gives no matrix. Raise mesh_from, or use an "
            "iterative solver."
        )

    def _density(self, charges: Tensor) -> Tensor:
        count = self.influence.shape[0]
        size = count * self.shape[0] * self.shape[1] * self.shape[2]
        way = spread if takes(self.splines) else plain_spread
        mesh = way(charges[self.atoms][:, None, None, None], self.splines, self.points, size)
        return mesh.reshape((count, *self.shape))


def mesh_potential(density: Tensor, influence: Tensor) -> Tensor:
    """The potential on a mesh, (P, x, y, z), from the density there and its influence (P, x, y, z // 2 + 1)."""
    waves = torch.fft.rfftn(density, dim=(1, 2, 3))
    return torch.fft.irfftn(waves * influence, s=density.shape[1:], dim=(1, 2, 3))


def mesh_energy(density: Tensor, influence: Tensor) -> Tensor:
    """Half of the density times `mesh_potential`, for each structure, (P,)."""
    waves = torch.fft.rfftn(density, dim=(1, 2, 3))
    # by Parseval's theorem, which saves the way back; the last axis has one of each pair k and -k
    pairs = torch.full((waves.shape[3],), 2.0, dtype=density.dtype, device=density.device)
    pairs[0] = pairs[-1] = 1.0
    squared = (waves.real.square() + waves.imag.square()) * influence
    return 0.5 * (squared.sum(dim=(1, 2)) @ pairs) / density[0].numel()


def mesh_shape(cell: Tensor, spacing: float) -> tuple[int, int, int]:
    """Mesh points along each lattice vector, for the largest of the cells (P, 3, 3): products of 2, 3 and 5."""
    with torch.no_grad():
        longest = torch.linalg.vector_norm(cell, dim=-1).amax(dim=0)
    x, y, z = (_good_size(int(length / spacing) + 1) for length in longest.tolist())
    return x, y, z


def _good_size(at_least: int) -> int:
    size = max(at_least, ORDER)
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1 and size % 2 == 0:
            return size
        size += 1


def _places(fractional: Tensor, structure: Tensor, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Mesh points (M, ORDER³) and splines (M, 3, 1, ORDER) of atoms at ``fractional`` coordinates (M, 3)."""
    counts = torch.tensor(shape, dtype=fractional.dtype, device=fractional.device)
    scaled = fractional * counts
    lower = scaled.detach().floor()
    weights = spline_weights(scaled - lower, ORDER)
    offsets = torch.arange(1 - ORDER, 1, device=fractional.device)
    x, y, z = ((lower[:, i, None].long() + offsets) % shape[i] for i in range(3))
    points = (structure[:, None] * shape[0] + x)[:, :, None] * shape[1] + y[:, None, :]
    points = points[:, :, :, None] * shape[2] + z[:, None, None, :]
    return points.flatten(1), weights[:, :, None]


def mesh_influence(lattice: Lattice, alpha: float, shape: tuple[int, int, int], order: int) -> Tensor:
    """w(k) |b(k)|² for splines of an order, times the number of mesh points, which the inverse transform divides by."""
    device, dtype = lattice.cell.device, lattice.cell.dtype
    first, second = (torch.fft.fftfreq(n, 1 / n, device=device, dtype=dtype).round() for n in shape[:2])
    third = torch.fft.rfftfreq(shape[2], 1 / shape[2], device=device, dtype=dtype).round()
    weights = lattice.influence_of(
        first[None, :, None, None], second[None, None, :, None], third[None, None, None, :], alpha
    )
    x, y, z = (spline_transform(n, order, device).to(dtype) for n in shape)
    plane = x[:, None] * y * float(shape[0] * shape[1] * shape[2])
    return weights * (plane[:, :, None] * z[: shape[2] // 2 + 1])
