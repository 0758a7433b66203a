"""What keeps -C6/r⁶ - C8/r⁸ finite at short range."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from eqff.nn.exact import ExactModule
from eqff.units import BOHR


class Damping(ExactModule, ABC):
    """Damped powers of distances, scaled for a functional."""

    @abstractmethod
    def forward(self, lengths: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """s6 f6(r)/r⁶ + s8 (C8/C6) f8(r)/r⁸ in Å⁻⁶, (P,): what multiplies -C6.

        Args:
            lengths: Å, (P,).
            first: Row of the element of each pair's atom, (P,).
            second: Of the other one.
        """


class RationalDamping(Damping):
    """r^-n -> 1 / (r^n + R^n) with R = a1 sqrt(C8/C6) + a2 [Becke and Johnson; Grimme et al., J. Comput. Chem. 32, 1456
    (2011)].

    Args:
        parameters: s6, s8, a1, and a2 in bohr.
        moments: Roots of C8/C6 of the elements in Å, (S,).
    """

    moments: Tensor

    def __init__(self, parameters: Mapping[str, float], moments: Tensor):
        super().__init__()
        self.s6, self.s8, self.a1 = (parameters[name] for name in ("s6", "s8", "a1"))
        self.a2 = parameters["a2"] * BOHR
        self.register_buffer("moments", moments, persistent=False)

    def radii(self) -> Tensor:
        """R of every two elements, Å, (S, S)."""
        return self.a1 * (self.moments[:, None] * self.moments).sqrt() + self.a2

    def forward(self, lengths: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """See `Damping.forward`."""
        ratio, squared = self.moments[first] * self.moments[second], lengths.square()
        damped = self.radii()[first, second].square()
        return self.s6 / (squared**3 + damped**3) + self.s8 * ratio / (squared**4 + damped**4)


class ZeroDamping(Damping):
    """r^-n -> r^-n / (1 + 6 (r / (s R))^-alpha), alpha_6 = alp, alpha_8 = alp + 2 [Grimme et al., J. Chem. Phys. 132,
    154104 (2010)].

    Args:
        parameters: s6, s8, rs6, rs8, alp.
        moments: Roots of C8/C6 of the elements in Å, (S,).
        radii: R of every two elements in Å, (S, S).
    """

    moments: Tensor
    radii: Tensor

    def __init__(self, parameters: Mapping[str, float], moments: Tensor, radii: Tensor):
        super().__init__()
        self.s6, self.s8, self.alp = (parameters[name] for name in ("s6", "s8", "alp"))
        self.rs6, self.rs8 = parameters["rs6"], parameters["rs8"]
        self.register_buffer("moments", moments, persistent=False)
        self.register_buffer("radii", radii, persistent=False)

    def forward(self, lengths: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """See `Damping.forward`."""
        ratio, radii = self.moments[first] * self.moments[second], self.radii[first, second]
        sixth = _damped_power(lengths, 6, self.rs6 * radii, self.alp)
        eighth = _damped_power(lengths, 8, self.rs8 * radii, self.alp + 2)
        return self.s6 * sixth + self.s8 * ratio * eighth


class LearnedDamping(Damping):
    """1 / (r⁶ + (R_i + R_j)⁶) with a radius of each element that is learned.

    Args:
        radii: Before training, Å, (S,).
    """

    def __init__(self, radii: Sequence[float]):
        super().__init__()
        values = torch.tensor(list(radii), dtype=torch.float64)
        self.log_radii = nn.Parameter(values.log().to(torch.get_default_dtype()))

    def forward(self, lengths: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """See `Damping.forward`."""
        radii = self.log_radii.to(torch.float64).exp()
        return 1 / (lengths**6 + (radii[first] + radii[second]) ** 6)


def _damped_power(lengths: Tensor, power: int, radii: Tensor, exponent: float) -> Tensor:
    """r^-n / (1 + 6 (r/R)^-a), in units of R and without a power that overflows where atoms are near or far."""
    inverse = radii / lengths
    return inverse**power / (1 + 6 * inverse**exponent) / radii**power
