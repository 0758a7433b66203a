"""Interactions of pairs of multipoles whose radial functions are given: the part that is a sum over a pair list.

With R = r_i - r_j, quadrupoles Q = Theta/3 and the chain B_n, moments q, mu, Q at j make at i

    phi = q B_0 + (mu·R) B_1 + (R·Q·R) B_2
    E   = R (q B_1 + (mu·R) B_2 + (R·Q·R) B_3) - mu B_1 - 2 Q·R B_2,

and so on for the gradient [Smith, CCP5 Newsletter 46, 18 (1998); Stone, The Theory of Intermolecular Forces, 2nd ed.
(2013), ch. 3]. Contractions with R come first, so nothing larger than a packed row exists for each pair. Each pair is
held once, in one direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from eqff.kernels.choice import fused
from eqff.longrange.multipoles.fused import Formula, PairOperation
from eqff.longrange.multipoles.moments import COMPONENTS, UPPER
from eqff.longrange.multipoles.radial import bare_chain
from eqff.nn.reduce import segment_sum

Components = tuple[Any, ...]
"""Tensors (E,), or values on a tape (`eqff.longrange.multipoles.fused`)."""


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
        chain = self.chain[: COMPONENTS.index(rows.shape[1]) + rank + 1]
        return self._run(_fields_operation(rows.shape[1], rank), rows, chain)

    def dipole_fields(self, dipoles: Tensor) -> Tensor:
        """E without k_e, (N, 3), from dipoles (N, 3) alone: what `fields` does, for iterations."""
        return self._run(_dipole_fields_operation(), dipoles, self.chain[1:3])

    def dipole_energy(self, dipoles: Tensor) -> Tensor:
        """Energy of each pair without k_e, e²/Å, (E,), from dipoles (N, 3) alone."""
        return self._run(_dipole_energy_operation(), dipoles, self.chain[1:3])

    def energy(self, rows: Tensor) -> Tensor:
        """Energy of each pair without k_e, e²/Å, (E,), from packed moments."""
        chain = self.chain[: 2 * COMPONENTS.index(rows.shape[1]) + 1]
        return self._run(_energy_operation(rows.shape[1]), rows, chain)

    def _run(self, operation: PairOperation, rows: Tensor, chain: tuple[Tensor, ...]) -> Tensor:
        double = all(tensor.dtype == torch.float64 for tensor in (rows, self.vectors, *chain))
        on_cpu = double and rows.device.type == "cpu" and fused(rows)
        way = operation if on_cpu and len(self.first) and operation.value.available() else operation.plain
        return way(rows, self.vectors, chain, (self.first, self.second))

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


def _of_pairs(formula: Formula, width: int, count: int) -> PairOperation:
    """A formula with a result for each pair."""

    def plain(rows: Tensor, vectors: Tensor, chain: Sequence[Tensor], pair: tuple[Tensor, Tensor]) -> Tensor:
        one, two = (rows.index_select(0, index).unbind(1) for index in pair)
        return formula(one, two, vectors.unbind(0), tuple(chain))[0][0]

    return PairOperation(formula, plain, width, count)


def _at_atoms(formula: Formula, width: int, count: int) -> PairOperation:
    """A formula with results at both atoms, which are added up."""

    def plain(rows: Tensor, vectors: Tensor, chain: Sequence[Tensor], pair: tuple[Tensor, Tensor]) -> Tensor:
        one, two = (rows.index_select(0, index).unbind(1) for index in pair)
        found = formula(one, two, vectors.unbind(0), tuple(chain))
        sums = [segment_sum(torch.stack(at).T, index, len(rows)) for at, index in zip(found, pair, strict=True)]
        return sums[0] + sums[1]

    return PairOperation(formula, plain, width, count)


@cache
def _energy_operation(width: int) -> PairOperation:
    return _of_pairs(lambda *of: [[_energy(*of)]], width, 2 * COMPONENTS.index(width) + 1)


@cache
def _dipole_energy_operation() -> PairOperation:
    def formula(one: Components, two: Components, R: Components, chain: Components) -> list[Components]:
        return [(_dot(one, two) * chain[0] - _dot(one, R) * _dot(two, R) * chain[1],)]

    return _of_pairs(formula, 3, 2)


@cache
def _fields_operation(width: int, rank: int) -> PairOperation:
    def formula(one: Components, two: Components, R: Components, chain: Components) -> list[Components]:
        return [_made_by(two, R, chain, rank), _made_by(one, tuple(-x for x in R), chain, rank)]

    return _at_atoms(formula, width, COMPONENTS.index(width) + rank + 1)


@cache
def _dipole_fields_operation() -> PairOperation:
    def field(mu: Components, R: Components, chain: Components) -> Components:
        along = _dot(mu, R) * chain[1]
        return tuple(x * along - m * chain[0] for x, m in zip(R, mu, strict=True))

    return _at_atoms(lambda one, two, R, chain: [field(two, R, chain), field(one, R, chain)], 3, 2)


def _dot(a: Components, b: Components) -> Tensor:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _times(matrix: Components, vector: Components) -> Components:
    """A symmetric matrix, as six components, times a vector."""
    xx, xy, xz, yy, yz, zz = matrix
    x, y, z = vector
    return xx * x + xy * y + xz * z, xy * x + yy * y + yz * z, xz * x + yz * y + zz * z


def _made_by(source: Components, R: Components, chain: Components, rank: int) -> list[Any]:
    """Packed fields at R from moments at the origin, by component, 1, 4 or 10 of (E,)."""
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
    return out


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
