"""A network of populations whose weights are read from the environment."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eqff.nn.equilibration import Readout
from eqff.nn.radial import BesselBasis, polynomial_cutoff
from eqff.nn.site_energies import SiteEnergies, activation, without_spin_sign


class PopulationNetwork(nn.Module):
    """e_i = sum_k a_k(s_i) (f(b_k(s_i) + v_k·u_i) - f(b_k(s_i))), with amplitudes a and offsets b from scalars s.

    Args:
        size: Scalars of an atom.
        units: K; 0 for no energy at all.
        hidden: Width of the nonlinear readout of a and b; 0 for a linear one alone.
        kinds: C, 1 for charges, 2 for charges and spins, whose sign then does not matter.
        sums: S, sums over neighbours of each kind, beside the atom's own.
        network: "convex" or "general", see `eqff.nn.site_energies`.

    Raises:
        ConfigError: Another network.
    """

    def __init__(self, size: int, units: int, hidden: int, kinds: int, sums: int, network: str):
        super().__init__()
        self.activation, self.shape = activation(network), (units, kinds, 1 + sums)
        self.readout, self.directions = None, None
        if units:
            self.readout = Readout(size, 2 * units, hidden)
            self.directions = nn.Parameter(torch.randn(self.shape))

    def forward(self, scalars: Tensor) -> SiteEnergies:
        """In float64, for atoms with scalars (N, size)."""
        exact = {"dtype": torch.float64, "device": scalars.device}
        if self.readout is None or self.directions is None:
            nothing = torch.zeros(scalars.shape[0], 0, **exact)
            return SiteEnergies(self.activation, nothing, nothing, torch.zeros(self.shape, **exact))
        read, offsets = self.readout(scalars).to(torch.float64).chunk(2, dim=1)
        site = SiteEnergies(self.activation, self.activation.amplitudes(read), offsets, self.directions.to(**exact))
        return site if self.shape[1] == 1 else without_spin_sign(site)


class SmoothWeights(nn.Module):
    """S learned functions of the distance that end smoothly at a cutoff.

    Args:
        count: S.
        cutoff: Å.
        size: Functions of the basis.
    """

    def __init__(self, count: int, cutoff: float, size: int = 8):
        super().__init__()
        self.count, self.cutoff = count, cutoff
        self.basis = BesselBasis(cutoff, size)
        self.linear = nn.Linear(size, count, bias=False) if count else None

    def forward(self, lengths: Tensor) -> Tensor:
        """From lengths (E,) in Å to (E, S) in float64."""
        if self.linear is None:
            return lengths.new_zeros(lengths.shape[0], 0, dtype=torch.float64)
        read = self.linear(self.basis(lengths)) * polynomial_cutoff(lengths, self.cutoff)[:, None]
        return read.to(torch.float64)
