"""The cells in which reciprocal sums run, for structures periodic in one, two or three directions.

A direction without periodicity is given a vector of its own, long enough that the Coulomb interaction, cut off at half
of its length, still reaches every pair of the structure but no pair of images: then the sum over a lattice is exact
[Rozzi et al., Phys. Rev. B 73, 205119 (2006)]. No vacuum has to converge, and no dipole correction is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.data.cells import volumes
from eqff.longrange.bessel import bessel_k0, bessel_k1, constant_bessel


@dataclass(frozen=True)
class Lattice:
    """Cells of P structures.

    Attributes:
        cell: Rows are lattice vectors, artificial ones where a direction is open, Å, (P, 3, 3).
        reciprocal: Rows b_i with a_i · b_j = 2 pi delta_ij, 1/Å, (P, 3, 3).
        pbc: (P, 3) bool.
        radius: Å, (P,): where the interaction is cut off in open directions; half the length of their vectors.
    """

    cell: Tensor
    reciprocal: Tensor
    pbc: Tensor
    radius: Tensor

    @classmethod
    def of(cls, cell: Tensor, pbc: Tensor, positions: Tensor, mask: Tensor, margin: float) -> Lattice:
        """The lattice of structures with at least one periodic direction.

        Args:
            cell: Å, (P, 3, 3); rows of open directions don't matter.
            pbc: (P, 3) bool.
            positions: Å, (P, n, 3).
            mask: Which of the n places hold an atom, (P, n).
            margin: Å; how far the smeared charge of an atom reaches.
        """
        axes = _with_unit_vectors(cell, pbc)
        with torch.no_grad():
            radius = _extent(positions, mask, axes, pbc) + margin
        axes = torch.where(pbc[:, :, None], axes, axes * (2 * radius)[:, None, None])
        return cls(axes, 2 * torch.pi * torch.linalg.inv(axes).transpose(1, 2), pbc, radius)

    @property
    def volume(self) -> Tensor:
        """Of ``cell``, Å³, (P,)."""
        return volumes(self.cell)

    def fractional(self, positions: Tensor, mask: Tensor) -> Tensor:
        """Places of atoms in lattice vectors, (P, n, 3), in open directions from the middle of their structure.

        So nothing that is computed on a mesh depends on where a slab or wire is across its periodic directions.

        Args:
            positions: Å, (P, n, 3).
            mask: Which of the n places hold an atom, (P, n).
        """
        places = positions @ self.reciprocal.transpose(1, 2) / (2 * torch.pi)
        taken = mask[..., None].to(places.dtype)
        middle = (places * taken).sum(dim=1, keepdim=True) / taken.sum(dim=1, keepdim=True).clamp(min=1.0)
        return places - torch.where(self.pbc[:, None], 0.0, middle)

    def wave_vectors(self, integers: Tensor) -> Tensor:
        """k of whole multiples of the reciprocal vectors, (P, K, 3), from (P or 1, K, 3); 1/Å."""
        return integers.to(self.cell.dtype) @ self.reciprocal

    def influence(self, integers: Tensor, splitting: float) -> Tensor:
        """`influence_of` whole multiples of the reciprocal vectors in one tensor (P or 1, ..., 3)."""
        x, y, z = integers.unbind(-1)
        return self.influence_of(x, y, z, splitting)

    def influence_of(self, x: Tensor, y: Tensor, z: Tensor, splitting: float) -> Tensor:
        """Weights w(k) of the smooth part of 1/r, which is sum_k w(k) exp(ik·r) = erf(splitting · r)/r and its images.

        Under three periodic directions k = 0 carries what a uniform background, which neutralises charged cells, takes
        from the other part of the sum.

        Args:
            x: Whole multiples of the first reciprocal vector; P or 1 is the first dimension. All three broadcast, so
                that those of a mesh are never spread out.
            y: Of the second.
            z: Of the third.
            splitting: 1/Å.

        Returns:
            1/Å, (P, ...).
        """
        x, y, z = (n.to(self.cell.dtype) for n in (x, y, z))
        shape = (-1,) + (1,) * (x.dim() - 1)
        origin = (x == 0) & (y == 0) & (z == 0)
        along = _squared(self.reciprocal * self.pbc[:, :, None], x, y, z)
        dimensions, volume = self.pbc.sum(dim=1), self.volume.reshape(shape)
        if bool((dimensions == 3).all()):
            weights = torch.where(origin, -torch.pi / splitting**2, 4 * torch.pi / torch.where(origin, 1.0, along))
            return weights * torch.exp(along * (-0.25 / splitting**2)) / volume
        # artificial vectors are orthogonal to lattice vectors and of fixed length, so this part does not change under
        # strain and needs no derivative
        across = _squared((self.reciprocal * ~self.pbc[:, :, None]).detach(), x, y, z)
        squared = torch.where(origin, 1.0, across + along)
        weights = torch.where(origin, -torch.pi / splitting**2, 4 * torch.pi / squared)
        for count, truncated in ((2, _slab), (1, _wire)):
            chosen = (dimensions == count).reshape(shape)
            if bool(chosen.any()):
                ended = truncated(_root(along), across.sqrt(), squared, origin, self.radius.reshape(shape))
                weights = torch.where(chosen, ended, weights)
        return weights * torch.exp((across + along) * (-0.25 / splitting**2)) / volume


def _squared(vectors: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """|x b_1 + y b_2 + z b_3|² for the rows b of ``vectors`` (P, 3, 3); only three operations have the full shape."""
    # rounding can make what is zero or nearly so negative, which has no root
    shape = (-1,) + (1,) * (x.dim() - 1)
    products = vectors @ vectors.transpose(1, 2)
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = ([c.reshape(shape) for c in row.unbind(1)] for row in products.unbind(1))
    plane = x.square() * xx + y.square() * yy + 2 * x * y * xy
    return (plane + z * (z * zz + 2 * (x * xz + y * yz))).clamp(min=0.0)


def _slab(along: Tensor, across: Tensor, squared: Tensor, origin: Tensor, radius: Tensor) -> Tensor:
    """Transform of 1/r without |z| > radius, at multiples of pi/radius across (Rozzi et al., eq. 16, and k = 0)."""
    weights = 4 * torch.pi / squared * (1 - torch.exp(-along * radius) * torch.cos(across * radius))
    return torch.where(origin, -2 * torch.pi * radius**2, weights)


def _wire(along: Tensor, across: Tensor, squared: Tensor, origin: Tensor, radius: Tensor) -> Tensor:
    """Transform of 1/r without the outside of a cylinder (Rozzi et al., eqs. 14 and 15, with ln in Å)."""
    flat = along == 0
    y = across * radius
    x = torch.where(flat, 1.0, along) * radius
    j0, j1 = constant_bessel(y)
    axial = 4 * torch.pi / squared * (1 + y * j1 * bessel_k0(x) - x * j0 * bessel_k1(x))
    log = radius.log()
    safe = torch.where(across > 0, across, 1.0)
    planar = -4 * torch.pi * (radius * log * j1 / safe + (j0 - 1) / safe**2)
    planar = torch.where(origin, -torch.pi * radius**2 * (2 * log - 1), planar)
    return torch.where(flat, planar, axial)


def _root(squared: Tensor) -> Tensor:
    """Square root with the derivative zero at zero."""
    positive = squared > 0
    return torch.where(positive, torch.where(positive, squared, 1.0).sqrt(), 0.0)


def _with_unit_vectors(cell: Tensor, pbc: Tensor) -> Tensor:
    """Lattice vectors, and in open directions unit vectors at right angles to them and to each other, (P, 3, 3)."""
    # the identity stands in for structures of another kind, so that nothing of length zero is normalised
    eye = torch.eye(3, dtype=cell.dtype, device=cell.device)
    dimensions, structure = pbc.sum(dim=1), torch.arange(len(cell), device=cell.device)
    one_open = pbc.long().argmin(dim=1)
    plane = torch.where((dimensions == 2)[:, None, None], cell, eye)
    normal = _unit(torch.linalg.cross(plane[structure, (one_open + 1) % 3], plane[structure, (one_open + 2) % 3]))
    axis = pbc.long().argmax(dim=1)
    direction = torch.where((dimensions == 1)[:, None], cell[structure, axis], eye[0])
    helper = eye[direction.detach().abs().argmin(dim=1)]
    first = _unit(torch.linalg.cross(direction, helper))
    second = _unit(torch.linalg.cross(direction, first))
    place = torch.arange(3, device=cell.device)
    wire = torch.where((place == ((axis + 1) % 3)[:, None])[:, :, None], first[:, None], second[:, None])
    open_rows = torch.where((dimensions == 2)[:, None, None], normal[:, None], wire)
    return torch.where(pbc[:, :, None], cell, open_rows)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)


def _extent(positions: Tensor, mask: Tensor, axes: Tensor, pbc: Tensor) -> Tensor:
    """Upper bound of the distance of two atoms across the periodic directions, Å, (P,)."""
    if not mask.shape[1]:
        return positions.new_zeros(len(pbc))
    across = positions @ axes.transpose(1, 2)
    highest = torch.where(mask[..., None], across, -torch.inf).amax(dim=1)
    lowest = torch.where(mask[..., None], across, torch.inf).amin(dim=1)
    none = pbc | ~mask.any(dim=1, keepdim=True)  # structures may have no atoms
    return torch.linalg.vector_norm(torch.where(none, 0.0, highest - lowest), dim=-1)
