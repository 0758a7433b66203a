"""Polarizabilities screened at short range by the dipoles around (rsSCS).

[Ambrosetti, Reilly, DiStasio and Tkatchenko, J. Chem. Phys. 140, 18A508 (2014); the quadrature is libMBD's, Hermann et
al., J. Chem. Phys. 159, 174802 (2023)]
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eqff.dispersion.all_pairs import AllPairs
from eqff.dispersion.free_atoms import DispersionAtoms
from eqff.dispersion.mbd.blocks import BlockLayout
from eqff.dispersion.mbd.catastrophe import require_positive_matrices, require_positive_screened
from eqff.dispersion.mbd.settings import MBDSettings
from eqff.dispersion.mbd.tensors import gaussians
from eqff.dispersion.tkatchenko_scheffler import fermi_damping
from eqff.units import HARTREE

_SCALE = 0.6 * HARTREE
"""eV; half of the nodes lie below."""


@dataclass(frozen=True)
class Screened:
    """What came of the screening.

    Attributes:
        atoms: With screened polarizabilities, C6 and radii.
        molecular: Static polarizability of each structure, Å³, (B, 3, 3).
    """

    atoms: DispersionAtoms
    molecular: Tensor


def imaginary_frequencies(count: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Zero and ``count`` nodes u in eV with the weights of an integral from 0 to infinity, (count + 1,) each.

    Gauss and Legendre's nodes x in u = L (1 + x)/(1 - x) with L = 0.6 hartree.
    """
    x, weights = np.polynomial.legendre.leggauss(count)
    nodes = np.concatenate([[0.0], _SCALE * (1 + x) / (1 - x)])
    weights = np.concatenate([[0.0], 2 * _SCALE * weights / (1 - x) ** 2])
    return torch.as_tensor(nodes, device=device), torch.as_tensor(weights, device=device)


def screen(pairs: AllPairs, layout: BlockLayout, atoms: DispersionAtoms, settings: MBDSettings) -> Screened:
    """Solves (1/alpha(iu) + T_SR(iu)) X = 1 at every frequency and sums X over the dipoles that respond.

    Args:
        pairs: Of the batch.
        layout: One sample at q = 0 for each structure.
        atoms: Polarizabilities, C6 and radii that are to be screened.
        settings: beta, steepness, frequencies.

    Raises:
        ModelError: There is no stable solution; names structure, pair and eigenvalue.
    """
    nodes, weights = imaginary_frequencies(settings.frequencies, pairs.lengths.device)
    dynamic = atoms.polarizability[:, None] / (1 + (nodes / atoms.frequency[:, None]).square())  # (N, F)
    inverse = layout.gather(1 / dynamic, empty=1.0).transpose(1, 2)
    matrix = torch.diag_embed(inverse) + layout.assemble(_short_range(pairs, atoms, dynamic, settings))
    require_positive_matrices(matrix[:, 0], layout, pairs)  # at u = 0, where polarizabilities are largest
    eye = torch.eye(3, dtype=matrix.dtype, device=matrix.device)
    response = torch.linalg.solve(matrix, _sources(layout, eye)[:, None].expand(-1, len(nodes), -1, -1))
    each = response.unflatten(2, (-1, 3))  # (B, F, n, 3, 3)
    screened = layout.padding.scatter(each.diagonal(dim1=-2, dim2=-1).mean(dim=-1).transpose(1, 2))
    require_positive_screened(screened[:, 0], layout, pairs)
    c6 = 3 / math.pi * (screened.square() * weights).sum(dim=1)
    static = screened[:, 0]
    radius = atoms.radius * (static / atoms.polarizability).pow(1 / 3)
    molecular = torch.where(layout.padding.mask[:, :, None, None], each[:, 0], 0.0).sum(dim=1)
    return Screened(DispersionAtoms(static, c6, radius), molecular)


def _sources(layout: BlockLayout, eye: Tensor) -> Tensor:
    """The same field on every dipole, (B, 3n, 3)."""
    return (layout.padding.mask[:, :, None, None] * eye).flatten(1, 2)


def _short_range(pairs: AllPairs, atoms: DispersionAtoms, dynamic: Tensor, settings: MBDSettings) -> Tensor:
    """(1 - f) T of Gaussian dipoles at each frequency, (E, F, 3, 3)."""
    width = (math.sqrt(2 / math.pi) / 3 * dynamic).pow(1 / 3)
    of_pair = (width[pairs.sender].square() + width[pairs.receiver].square()).sqrt()
    reach = settings.beta * (atoms.radius[pairs.sender] + atoms.radius[pairs.receiver])
    share = (1 - fermi_damping(pairs.lengths, reach, settings.steepness)) * pairs.fade
    return (gaussians(pairs.lengths[:, None], of_pair) * share[:, None]).blocks(pairs.vectors)
