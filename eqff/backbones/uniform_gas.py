"""How much symmetry functions vary among atoms at random places: their scale where no statistics are at hand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from eqff.backbones.symmetry_functions import AngularFunctions, RadialFunctions

_DISTANCES, _COSINES = 40, 24  # midpoints, of functions that are smooth on a tenth of the cutoff


def radial_deviation(functions: RadialFunctions, density: float) -> Tensor:
    """Standard deviation of sums over neighbours of a random atom, (size,).

    In a gas without interaction the variance is ρ ∫ g² dV [Campbell's theorem].

    Args:
        functions: g.
        density: ρ, Å⁻³.
    """
    r, shells = _shells(functions.cutoff)
    return (density * (shells[:, None] * functions(r).square()).sum(dim=0)).sqrt()


def angular_deviation(functions: AngularFunctions, density: float) -> Tensor:
    """The same of sums over pairs of neighbours: the variance is ρ² ∬ h² dV dV' / 2 + ρ³ ∫ (∫ h dV')² dV, (size,).

    Args:
        functions: h, with the cutoff functions of both distances.
        density: ρ, Å⁻³.
    """
    r, shells = _shells(functions.cutoff)
    cosines = (torch.arange(_COSINES, dtype=r.dtype) + 0.5) * (2 / _COSINES) - 1
    first, second, cosine = (grid.flatten() for grid in torch.meshgrid(r, r, cosines, indexing="ij"))
    across = first.square() + second.square() - 2 * first * second * cosine
    envelope = functions.envelope(first) * functions.envelope(second)
    values = functions(first, second, cosine, across) * envelope[:, None]
    values = values.view(_DISTANCES, _DISTANCES, _COSINES, -1)
    around = (shells / _COSINES)[None, :, None, None]  # of the second neighbour, seen from the first
    once, squares = (around * values).sum(dim=(1, 2)), (around * values.square()).sum(dim=(1, 2))
    variance = 0.5 * density**2 * squares + density**3 * once.square()
    return (shells[:, None] * variance).sum(dim=0).sqrt()


def _shells(cutoff: float) -> tuple[Tensor, Tensor]:
    """Distances (Å) and volumes (Å³) of thin spherical shells within the cutoff."""
    step = cutoff / _DISTANCES
    r = (torch.arange(_DISTANCES, dtype=torch.get_default_dtype()) + 0.5) * step
    return r, 4 * math.pi * r.square() * step
