"""The smooth part of the sum over periodic multipoles on a mesh, N log N.

Smooth particle mesh Ewald for multipoles [Toukmaji et al., J. Chem. Phys. 113, 10913 (2000); Sagui et al.,
J. Chem. Phys. 120, 73 (2004)]: dipoles and quadrupoles are spread with the derivatives of the splines, fields are read
with them. The splines are of order 8, so that the fourth derivatives that training on forces takes of quadrupoles are
still smooth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from eqff.errors import ModelError
from eqff.kernels.mesh import plain_read, plain_spread, read, spread, takes
from eqff.longrange.lattice import Lattice
from eqff.longrange.mesh import mesh_energy, mesh_influence, mesh_potential, mesh_shape
from eqff.longrange.multipoles.moments import COMPONENTS, UPPER, pack_symmetric, unpack_symmetric
from eqff.longrange.padding import Padding
from eqff.longrange.splines import spline_derivatives
from eqff.longrange.tuning import Splitting, mesh_spacing
from eqff.nn.reduce import segment_sum

ORDER = 8

POWERS = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2, 0, 0), (1, 1, 0), (1, 0, 1), (0, 2, 0), (0, 1, 1), (0, 0, 2))
"""How often the spline of each direction is differentiated, in the order of packed rows."""


@dataclass(frozen=True)
class MultipoleMesh:
    """Bound to the geometry of P structures, which share the number of mesh points.

    Attributes:
        atoms: Which atoms of the batch they have, (M,).
        structures: Which structures of the batch are summed, (P,).
        points: Mesh point of each atom and spline, flattened over structures, (M, order³).
        splines: And their derivatives in mesh units, for each direction, (M, 3, 3, order).
        scaling: Derivatives of mesh coordinates by positions, 1/Å, (M, 3, 3).
        influence: What turns the transform of the density into that of the potential, (P, x, y, z // 2 + 1).
        shape: Mesh points of a cell.
        num_atoms: Of the whole batch.
    """

    has_matrix: ClassVar[bool] = False

    atoms: Tensor
    structures: Tensor
    points: Tensor
    splines: Tensor
    scaling: Tensor
    influence: Tensor
    shape: tuple[int, int, int]
    num_atoms: int

    @classmethod
    def bind(
        cls, padding: Padding, positions: Tensor, cell: Tensor, pbc: Tensor, splitting: Splitting, accuracy: float
    ) -> MultipoleMesh:
        """As `eqff.longrange.mesh.MeshSum.bind`."""
        lattice = Lattice.of(cell, pbc, positions, padding.mask, splitting.cutoff)
        shape = mesh_shape(lattice.cell, mesh_spacing(splitting, accuracy, ORDER))
        structure, place = padding.mask.nonzero(as_tuple=True)
        counts = torch.tensor(shape, dtype=positions.dtype, device=positions.device)
        scaling = (lattice.reciprocal * (counts / (2 * torch.pi))[:, None])[structure]
        scaled = lattice.fractional(positions, padding.mask)[structure, place] * counts
        lower = scaled.detach().floor()
        points = _points(lower.long(), structure, shape)
        # neighbours on the mesh one after the other, so that its points are read and written in about their order
        order = torch.argsort(points[:, 0])
        return cls(
            atoms=padding.index[structure, place][order],
            structures=padding.structures,
            points=points[order],
            splines=spline_derivatives((scaled - lower)[order], ORDER, 3),
            scaling=scaling[order],
            influence=mesh_influence(lattice, splitting.alpha, shape, ORDER),
            shape=shape,
            num_atoms=padding.num_atoms,
        )

    def fields(self, rows: Tensor, rank: int) -> Tensor:
        """As `MultipoleWaves.fields`."""
        mesh = mesh_potential(self._density(rows), self.influence).flatten()
        splines = self.splines[:, :, : rank + 1]
        # (M, x, y, z): how often differentiated
        values = (read if takes(splines) else plain_read)(mesh, splines, self.points)
        columns = [values[:, a, b, c] for a, b, c in POWERS[: COMPONENTS[rank]]]
        return segment_sum(self._in_space(columns), self.atoms, self.num_atoms)

    def energy(self, rows: Tensor) -> Tensor:
        """As `MultipoleWaves.energy`."""
        return mesh_energy(self._density(rows), self.influence)

    def dipole_blocks(self) -> Tensor:
        """Never formed: a structure that is large enough for a mesh is too large for a dense matrix.

        Raises:
            ModelError: Always.
        """
        raise ModelError(
            "A structure is summed on a mesh, which gives no matrix. Raise mesh_from, or use an iterative solver."
        )

    def _density(self, rows: Tensor) -> Tensor:
        coefficients = self._on_mesh(rows.index_select(0, self.atoms))
        count = coefficients.shape[1]
        splines = self.splines[:, :, :count]
        size = self.influence.shape[0] * self.shape[0] * self.shape[1] * self.shape[2]
        way = spread if takes(splines) else plain_spread
        return way(coefficients, splines, self.points, size).reshape(-1, *self.shape)

    def _on_mesh(self, rows: Tensor) -> Tensor:
        """What each product of differentiated splines is multiplied with, (M, c, c, c) for c = rank + 1."""
        columns = [rows[:, 0]]
        if rows.shape[1] >= COMPONENTS[1]:
            columns += (self.scaling @ rows[:, 1:4, None])[:, :, 0].unbind(dim=1)
        if rows.shape[1] == COMPONENTS[2]:
            turned = self.scaling @ unpack_symmetric(rows[:, 4:]) @ self.scaling.transpose(1, 2)
            columns += [(1 if a == b else 2) * turned[:, a, b] for a, b in UPPER]
        count = COMPONENTS.index(rows.shape[1]) + 1
        zero = torch.zeros_like(rows[:, 0])
        places = dict(zip(POWERS, columns, strict=False))
        cube = [places.get((a, b, c), zero) for a in range(count) for b in range(count) for c in range(count)]
        return torch.stack(cube, dim=1).reshape(-1, count, count, count)

    def _in_space(self, columns: list[Tensor]) -> Tensor:
        """Packed fields (M, 1, 4 or 10) from derivatives of the potential by mesh coordinates."""
        out = [columns[0][:, None]]
        back = self.scaling.transpose(1, 2)
        if len(columns) >= COMPONENTS[1]:
            out.append(-(back @ torch.stack(columns[1:4], dim=1)[:, :, None])[:, :, 0])
        if len(columns) == COMPONENTS[2]:
            out.append(-pack_symmetric(back @ unpack_symmetric(columns[4:]) @ self.scaling))
        return torch.cat(out, dim=1)


def _points(lower: Tensor, structure: Tensor, shape: tuple[int, int, int]) -> Tensor:
    offsets = torch.arange(1 - ORDER, 1, device=lower.device)
    x, y, z = ((lower[:, i, None] + offsets) % shape[i] for i in range(3))
    points = (structure[:, None] * shape[0] + x)[:, :, None] * shape[1] + y[:, None, :]
    return (points[:, :, :, None] * shape[2] + z[:, None, None, :]).flatten(1)
