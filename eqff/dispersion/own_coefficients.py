"""What learned dispersion starts from: coefficients and radii of each element, from D3's tables."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from eqff.dispersion.d3.references import D3References, pair_radii


def own_c6(elements: Sequence[int]) -> Tensor:
    """C6 of two atoms of one element in eV·Å⁶, the geometric mean over D3's references of it, (S,).

    Raises:
        ConfigError: An element beyond Z = 103.
    """
    references = D3References(elements)
    logarithm = torch.diagonal(torch.diagonal(references.c6, dim1=0, dim2=2), dim1=0, dim2=1).log()  # (S, A)
    present = ~references.exponents[:, :, 0].isnan()
    return (torch.where(present, logarithm, 0.0).sum(dim=1) / present.sum(dim=1)).exp()


def own_radii(elements: Sequence[int]) -> Tensor:
    """Half of D3's radius for two atoms of one element, Å, (S,)."""
    return pair_radii(elements).diagonal() / 2
