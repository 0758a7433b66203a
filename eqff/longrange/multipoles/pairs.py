"""Interactions of pairs of multipoles whose radial functions are given: the part that is a sum over a pair list.

With R = r_i - r_j, quadrupoles Q = Theta/3 and the chain B_n, moments q, mu, Q at j make at i

    phi = q B_0 + (mu·R) B_1 + (R·Q·R) B_2
    E   = R (q B_1 + (mu·R) B_2 + (R·Q·R) B_3) - mu B_1 - 2 Q·R B_2,

and so on for the gradient [Smith, CCP5 Newsletter 46, 18 (1998); Stone, The Theory of Intermolecular Forces, 2nd ed.
(2013), ch. 3]. Contractions with R come first, so nothing larger than a packed row exists for each pair. Each pair is
held once, in one direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.longrange.multipoles.moments import COMPONENTS, UPPER
from eqff.longrange.multipoles.radial import bare_chain
from eqff.nn.reduce import segment_sum

Components = tuple[Tensor, ...]


@dataclass(frozen=True)
class MultipolePairs:
    """Pairs of atoms and how they interact.

    Attributes:
        first: Atom i of each pair, (E,).
        second: Atom j, (E,).
        vectors: r_i - r_j in Å, by component, (3, E).
        chain: B_0, B_1, ... of each pair, each (E,).
    """

    first: Tensor
    second: Tensor
    vectors: Tensor
    chain: tuple[Tensor, ...]

    def fields(self, rows: Tensor, rank: int) -> Tensor:
        """Packed fields up to a rank, without k_e, (N, 1, 4 or 10), from packed moments (N, 1, 4 or 10)."""
        there = tuple(self.vectors)
        back = tuple(-self.vectors)
        at_first = _made_by(rows.index_select(0, self.second).unbind(1), there, self.chain, rank)
        at_second = _made_by(rows.index_select(0, self.first).unbind(1), back, self.chain, rank)
        count = rows.shape[0]
        return segment_sum(at_first.T, self.first, count) + segment_sum(at_second.T, self.second, count)

    def dipole_fields(self, dipoles: Tensor) -> Tensor:
        """E without k_e, (N, 3), from dipoles (N, 3) alone: what `fields` does, for iterations."""
        R, count = tuple(self.vectors), dipoles.shape[0]
        total = torch.zeros_like(dipoles)
        for here, there in ((self.first, self.second), (self.second, self.first)):
            mu = dipoles.index_select(0, there).unbind(1)
            along = _dot(mu, R) * self.chain[2]
            field = torch.stack([x * along - m * self.chain[1] for x, m in zip(R, mu, strict=True)], dim=1)
            total = total + segment_sum(field, here, count)
        return total

    def dipole_energy(self, dipoles: Tensor) -> Tensor:
        """Energy of each pair without k_e, e²/Å, (E,), from dipoles (N, 3) alone."""
        one, two = dipoles.index_select(0, self.first), dipoles.index_select(0, self.second)
        R = self.vectors.T
        along = (one * R).sum(dim=1) * (two * R).sum(dim=1)
        return (one * two).sum(dim=1) * self.chain[1] - along * self.chain[2]

    def energy(self, rows: Tensor) -> Tensor:
        """Energy of each pair without k_e, e²/Å, (E,), from packed moments."""
        one = rows.index_select(0, self.first).unbind(1)
        two = rows.index_select(0, self.second).unbind(1)
        return _energy(one, two, tuple(self.vectors), self.chain)

    def joined(self, other: MultipolePairs) -> MultipolePairs:
        """Both lists in one."""
        return MultipolePairs(
            first=torch.cat([self.first, other.first]),
            second=torch.cat([self.second, other.second]),
            vectors=torch.cat([self.vectors, other.vectors], dim=1),
            chain=tuple(torch.cat(both) for both in zip(self.chain, other.chain, strict=True)),
        )

    def dipole_blocks(self) -> Tensor:
        """T with E_i = T mu_j, and E_j = T mu_i, without k_e, 1/Å³, (E, 3, 3)."""
        eye = torch.eye(3, dtype=self.vectors.dtype, device=self.vectors.device)
        outer = self.vectors.T[:, :, None] * (self.vectors * self.chain[2]).T[:, None, :]
        return outer - self.chain[1][:, None, None] * eye


def potential_of(rows: Tensor, vectors: Tensor) -> Tensor:
    """Potential without k_e, e/Å, (E,), at ``vectors`` (E, 3) in Å from undamped packed moments (E, 1, 4 or 10)."""
    chain = bare_chain(torch.linalg.vector_norm(vectors, dim=1), 3)
    return _made_by(rows.unbind(1), vectors.unbind(1), tuple(chain), 0)[0]


def _dot(a: Components, b: Components) -> Tensor:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _times(matrix: Components, vector: Components) -> Components:
    """A symmetric matrix, as six components, times a vector."""
    xx, xy, xz, yy, yz, zz = matrix
    x, y, z = vector
    return xx * x + xy * y + xz * z, xy * x + yy * y + yz * z, xz * x + yz * y + zz * z


def _made_by(source: Components, R: Components, chain: tuple[Tensor, ...], rank: int) -> Tensor:
    """Packed fields at R from moments at the origin, by component, (1, 4 or 10, E)."""
    # of each power of 1/r one scalar: charge, dipole along R, quadrupole along R
    along = [source[0]]
    if len(source) >= COMPONENTS[1]:
        along.append(_dot(source[1:4], R))
    if len(source) == COMPONENTS[2]:
        turned = _times(source[4:10], R)
        along.append(_dot(turned, R))
    scalars = [sum(a * chain[n + shift] for n, a in enumerate(along)) for shift in range(rank + 1)]
    out = [scalars[0]]
    if rank >= 1:
        field = [x * scalars[1] for x in R]
        if len(along) > 1:
            field = [f - m * chain[1] for f, m in zip(field, source[1:4], strict=True)]
        if len(along) > 2:
            field = [f - 2 * v * chain[2] for f, v in zip(field, turned, strict=True)]
        out += field
    if rank >= 2:
        bent: list[Tensor] | None = None
        if len(along) > 1:
            bent = [m * chain[2] for m in source[1:4]]
        if len(along) > 2:
            bent = [b + 2 * v * chain[3] for b, v in zip(bent, turned, strict=True)]
        out += _gradient(R, scalars, bent, source[4:10], chain)
    return torch.stack(out)


def _gradient(
    R: Components, scalars: list[Tensor], bent: list[Tensor] | None, quadrupole: Components, chain: tuple[Tensor, ...]
) -> list[Tensor]:
    out = []
    for place, (a, b) in enumerate(UPPER):
        value = -R[a] * R[b] * scalars[2]
        if a == b:
            value = value + scalars[1]
        if bent is not None:
            value = value + R[a] * bent[b] + R[b] * bent[a]
        if quadrupole:
            value = value - 2 * quadrupole[place] * chain[2]
        out.append(value)
    return out


def _energy(one: Components, two: Components, R: Components, chain: tuple[Tensor, ...]) -> Tensor:
    """sum_n G_n B_n with the G_n of charges q, dipoles along R m, and quadrupoles Q·R = v, R·Q·R = s."""
    q, p = one[0], two[0]
    energy = q * p * chain[0]
    if len(one) >= COMPONENTS[1]:
        mu, nu = one[1:4], two[1:4]
        m, n = _dot(mu, R), _dot(nu, R)
        energy = energy + (q * n - p * m + _dot(mu, nu)) * chain[1] - m * n * chain[2]
    if len(one) == COMPONENTS[2]:
        v, w = _times(one[4:10], R), _times(two[4:10], R)
        s, t = _dot(v, R), _dot(w, R)
        both = sum((1 if a == b else 2) * one[4 + k] * two[4 + k] for k, (a, b) in enumerate(UPPER))
        energy = energy + (q * t + p * s + 2 * (_dot(mu, w) - _dot(nu, v) + both)) * chain[2]
        energy = energy + (n * s - m * t - 4 * _dot(v, w)) * chain[3] + s * t * chain[4]
    return energy
