"""Hirshfeld volume ratios, by which dispersion scales free atoms to those in a molecule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError
from eqff.heads.formal_charges import by_element
from eqff.parts import Fields, Head
from eqff.ranges import Positive, Size


class VolumeRatios(Head):
    """v_i = v0(Z_i) exp(L tanh(x_i / L)), with x read from the scalars of every pass; x = 0 before training.

    So v is positive and stays within v0 / exp(L) and v0 exp(L), because with atoms much larger than real ones dipoles
    polarize each other without bound; and x is divided by the root of the number of scalars, so that a step of Adam,
    which moves all weights alike, does not take it there at once. Volumes were predicted for pairwise dispersion by
    Muhli et al. [Phys. Rev. B 104, 054106 (2021)] and for many-body dispersion by Poier et al. [J. Phys. Chem. Lett.
    13, 4381 (2022)].

    Args:
        channels: Channels of the backbone.
        num_passes: Passes of the backbone.
        elements: Atomic numbers covered.
        hidden: Width of the nonlinear readout; 0 for a linear one alone.
        start: v0 by element symbol or atomic number; 1 for elements that it leaves out.
        largest_factor: exp(L).

    Raises:
        ConfigError: A start that is not positive, or an element that does not exist.
    """

    reads = ("pass_scalars", "numbers")
    writes = ("volume_ratios",)

    def __init__(
        self,
        channels: int,
        num_passes: int,
        elements: tuple[int, ...],
        hidden: Size = 32,
        start: Mapping[str | int, float] | None = None,
        largest_factor: Annotated[float, Gt(1)] = 1.7,
    ):
        super().__init__()
        self.limit = math.log(largest_factor)
        start = dict.fromkeys(elements, 1.0) | dict(start or {})
        self.register_buffer("start", _ratios(start, elements), persistent=False)
        size = channels * num_passes
        self.linear = nn.Linear(size, 1)
        outputs = [self.linear]
        self.nonlinear = None
        if hidden:
            self.nonlinear = nn.Sequential(nn.Linear(size, hidden), nn.SiLU(), nn.Linear(hidden, 1, bias=False))
            outputs.append(self.nonlinear[-1])
        for layer in outputs:
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``volume_ratios``, (N,)."""
        scalars = fields["pass_scalars"].flatten(1)
        read = self.linear(scalars)
        if self.nonlinear is not None:
            read = read + self.nonlinear(scalars)
        read = read[:, 0] / scalars.shape[1] ** 0.5
        factor = torch.exp(self.limit * torch.tanh(read / self.limit))
        return {"volume_ratios": self.start[graph.numbers] * factor}


class TabulatedVolumeRatios(Head):
    """v_i = v(Z_i): the same for every atom of an element, given by the user.

    Args:
        ratios: v by element symbol or atomic number.
        elements: Atomic numbers covered; each needs one.

    Raises:
        ConfigError: An element without a ratio, or one that is not positive.
    """

    reads = ("numbers",)
    writes = ("volume_ratios",)

    def __init__(self, ratios: Mapping[str | int, Positive], elements: tuple[int, ...]):
        super().__init__()
        self.register_buffer("table", _ratios(ratios, elements), persistent=False)

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``volume_ratios``, (N,)."""
        return {"volume_ratios": self.table.to(graph.positions.dtype)[graph.numbers]}


def _ratios(values: Mapping[str | int, float], elements: tuple[int, ...]) -> Tensor:
    table = by_element(values, elements, "volume ratios")
    if not bool((table[list(elements)] > 0).all()):
        raise ConfigError(f"volume ratios: {dict(values)} are not all above 0.")
    return table.to(torch.get_default_dtype())
