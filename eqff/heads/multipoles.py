"""Permanent dipoles and traceless quadrupoles of atoms, read from equivariant features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.nn.spherical import components, coupling
from eqff.parts import Fields, Head
from eqff.ranges import Size


class GatedReadout(nn.Module):
    """x_m = sum_c (w_c + g_c(s)) h_lmc: one spherical tensor, linear in features of degree l, gated by scalars.

    Args:
        channels: Channels of the features.
        num_passes: Passes whose scalars gate.
        degree: l.
        hidden: Width of the gates' layer; 0 for no gates.
    """

    def __init__(self, channels: int, num_passes: int, degree: int, hidden: int):
        super().__init__()
        self.components = components(degree)
        self.linear = nn.Linear(channels, 1, bias=False)
        self.gates = None
        if hidden:
            size = channels * num_passes
            self.gates = nn.Sequential(nn.Linear(size, hidden), nn.SiLU(), nn.Linear(hidden, channels, bias=False))

    def forward(self, fields: Fields) -> Tensor:
        """(N, 2l + 1) from ``features`` and ``pass_scalars``."""
        features = fields["features"][:, self.components]
        read = self.linear(features)[..., 0]
        if self.gates is not None:
            gates = self.gates(fields["pass_scalars"].flatten(1))
            read = read + (features * gates[:, None, :]).sum(dim=2) / gates.shape[1] ** 0.5
        return read


class AtomicDipoles(Head):
    """mu_i from the l = 1 features of atom i, as MuML's [Veit et al., J. Chem. Phys. 153, 024113 (2020)].

    Args:
        channels: Channels of the backbone, which must reach l = 1.
        num_passes: Passes of the backbone.
        hidden: Width of the gates' layer; 0 for a linear readout alone.
    """

    reads = ("features", "pass_scalars")
    writes = ("atomic_dipoles",)
    degree = 1

    def __init__(self, channels: int, num_passes: int, hidden: Size = 32):
        super().__init__()
        self.readout = GatedReadout(channels, num_passes, 1, hidden)

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``atomic_dipoles`` in e·Å, (N, 3)."""
        # e3nn's l = 1 components are x, y, z
        return {"atomic_dipoles": self.readout(fields)}


class AtomicQuadrupoles(Head):
    """Theta_i, symmetric and traceless (Buckingham), from the l = 2 features of atom i.

    Args:
        channels: Channels of the backbone, which must reach l = 2.
        num_passes: Passes of the backbone.
        hidden: Width of the gates' layer; 0 for a linear readout alone.
    """

    reads = ("features", "pass_scalars")
    writes = ("atomic_quadrupoles",)
    degree = 2

    def __init__(self, channels: int, num_passes: int, hidden: Size = 32):
        super().__init__()
        self.readout = GatedReadout(channels, num_passes, 2, hidden)
        matrices = coupling(1, 1, 2).permute(2, 0, 1)  # an orthonormal basis of symmetric traceless matrices
        self.register_buffer("matrices", matrices.to(torch.get_default_dtype()), persistent=False)

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``atomic_quadrupoles`` in e·Å², (N, 3, 3)."""
        return {"atomic_quadrupoles": torch.einsum("nm,mab->nab", self.readout(fields), self.matrices)}
