"""The energy of each atom as a network of populations with one hidden layer: all derivatives are closed formulas."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.errors import ConfigError, did_you_mean


class Activation(ABC):
    """A smooth function of one number, with derivatives that never exceed those at some point."""

    @abstractmethod
    def value(self, x: Tensor) -> Tensor:
        """f."""

    @abstractmethod
    def slope(self, x: Tensor) -> Tensor:
        """f'."""

    @abstractmethod
    def curvature(self, x: Tensor) -> Tensor:
        """f''."""

    @abstractmethod
    def amplitudes(self, read: Tensor) -> Tensor:
        """From any numbers to factors that a sum of such functions may have."""


class Convex(Activation):
    """ln(1 + exp(x)) with positive factors: every sum is convex [Amos, Xu & Kolter, ICML 2017]."""

    def value(self, x: Tensor) -> Tensor:
        """f."""
        return torch.nn.functional.softplus(x)

    def slope(self, x: Tensor) -> Tensor:
        """f'."""
        return torch.sigmoid(x)

    def curvature(self, x: Tensor) -> Tensor:
        """f''."""
        slope = torch.sigmoid(x)
        return slope * (1 - slope)

    def amplitudes(self, read: Tensor) -> Tensor:
        """Positive ones."""
        return torch.nn.functional.softplus(read)


class General(Activation):
    """tanh with any factors: a sum can bend either way."""

    def value(self, x: Tensor) -> Tensor:
        """f."""
        return torch.tanh(x)

    def slope(self, x: Tensor) -> Tensor:
        """f'."""
        return 1 - torch.tanh(x).square()

    def curvature(self, x: Tensor) -> Tensor:
        """f''."""
        value = torch.tanh(x)
        return -2 * value * (1 - value.square())

    def amplitudes(self, read: Tensor) -> Tensor:
        """As they are."""
        return read


def activation(name: str) -> Activation:
    """By its name in configs: "convex" or "general".

    Raises:
        ConfigError: There is none.
    """
    known: dict[str, type[Activation]] = {"convex": Convex, "general": General}
    if name not in known:
        raise ConfigError(f"network: no '{name}'.{did_you_mean(name, known)}")
    return known[name]()


@dataclass(frozen=True)
class SiteEnergies:
    """e_i(u) = sum_k a_ik (f(b_ik + v_k·u) - f(b_ik)), which is zero where no atom around has any population.

    Attributes:
        activation: f.
        amplitudes: a in eV, (N, K).
        offsets: b, (N, K).
        directions: v, (K, C, 1 + S): of C kinds of populations the atom's own and S sums over neighbours.
    """

    activation: Activation
    amplitudes: Tensor
    offsets: Tensor
    directions: Tensor

    def value(self, inputs: Tensor) -> Tensor:
        """e in eV, (N,), from u, (N, C, 1 + S)."""
        here = self.activation.value(self._hidden(inputs)) - self.activation.value(self.offsets)
        return (self.amplitudes * here).sum(dim=1)

    def slope(self, inputs: Tensor) -> Tensor:
        """de/du, (N, C, 1 + S)."""
        weights = self.amplitudes * self.activation.slope(self._hidden(inputs))
        return torch.einsum("nk,kcs->ncs", weights, self.directions)

    def curvature(self, inputs: Tensor) -> Tensor:
        """d²e/du du, (N, U, U), where U = C (1 + S) counts kinds first."""
        flat = self.directions.flatten(1)
        weights = self.amplitudes * self.activation.curvature(self._hidden(inputs))
        return flat.T @ (weights[:, :, None] * flat)

    def _hidden(self, inputs: Tensor) -> Tensor:
        return self.offsets + torch.einsum("ncs,kcs->nk", inputs, self.directions)


def without_spin_sign(site: SiteEnergies) -> SiteEnergies:
    """The mean over both signs of the second kind of populations, the spins: exchanging α and β changes nothing."""
    turned = site.directions * site.directions.new_tensor([1.0, -1.0])[:, None]
    return SiteEnergies(
        site.activation,
        0.5 * site.amplitudes.repeat(1, 2),
        site.offsets.repeat(1, 2),
        torch.cat([site.directions, turned]),
    )
