"""Dispersion coefficients from the environments of atoms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.dispersion.own_coefficients import own_c6
from eqff.nn.species import SpeciesIndex
from eqff.parts import Fields, Head
from eqff.ranges import Size


class DispersionCoefficients(Head):
    """C6_i = C6(Z_i) exp(L tanh(x_i / L)), with x read from the scalars of every pass; x = 0 before training.

    C6(Z) is the mean of D3's references of the element. C6 is positive and stays within exp(L) of it.

    Args:
        channels: Channels of the backbone.
        num_passes: Passes of the backbone.
        elements: Atomic numbers covered.
        hidden: Width of the nonlinear readout; 0 for a linear one alone.
        largest_factor: exp(L).

    Raises:
        ConfigError: An element beyond Z = 103.
    """

    reads = ("pass_scalars", "numbers")
    writes = ("c6_coefficients",)

    def __init__(
        self,
        channels: int,
        num_passes: int,
        elements: Sequence[int],
        hidden: Size = 32,
        largest_factor: Annotated[float, Gt(1)] = 5.0,
    ):
        super().__init__()
        self.limit = math.log(largest_factor)
        self.species = SpeciesIndex(elements)
        self.register_buffer("start", own_c6(elements).to(torch.get_default_dtype()), persistent=False)
        size = channels * num_passes
        self.readout: nn.Module = nn.Linear(size, 1)
        last = self.readout
        if hidden:
            last = nn.Linear(hidden, 1)
            self.readout = nn.Sequential(nn.Linear(size, hidden), nn.SiLU(), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``c6_coefficients`` in eV·Å⁶, (N,)."""
        scalars = fields["pass_scalars"].flatten(1)
        # so that a step of the optimizer changes it by little, however many scalars there are
        read = self.readout(scalars)[:, 0] / scalars.shape[1] ** 0.5
        factor = torch.exp(self.limit * torch.tanh(read / self.limit))
        return {"c6_coefficients": self.start[self.species(graph.numbers)] * factor}
