"""Charges in 1s Slater orbitals, as in the first charge equilibration schemes."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from eqff.errors import ModelError
from eqff.longrange.kernels import Kernel

ALIKE = 0.3
"""Relative difference of exponents up to which the closed formula, whose terms then cancel, is replaced."""

_nodes, _weights = np.polynomial.legendre.leggauss(12)


class SlaterKernel(Kernel):
    """The interaction of densities zeta³/pi exp(-2 zeta r), with widths w = 1/zeta in Å.

    [Rappe and Goddard, J. Phys. Chem. 95, 3358 (1991); Streitz and Mintmire, Phys. Rev. B 50, 11996 (1994); the
    integrals are Roothaan's, J. Chem. Phys. 19, 1445 (1951)]. The closed formula has the difference of the two
    exponents cubed in its denominators. Pairs of similar exponents are taken as a mean over pairs of equal ones
    instead, with 1/(A²B²) = ∫ 6x(1-x) / (xA + (1-x)B)⁴ dx for the densities' Fourier transforms, by Gauss's rule;
    both agree to 1e-11.
    """

    def complement(self, lengths: Tensor, first: Tensor | None, second: Tensor | None) -> Tensor:
        """1/r less the interaction.

        Raises:
            ModelError: The charges have no widths.
        """
        if first is None or second is None:
            raise ModelError("Slater charges need widths (1/zeta, Å); none are given.")
        one, two = 1 / first, 1 / second
        alike = (one - two).abs() < ALIKE * 0.5 * (one + two)
        # what is not taken is kept away from where its derivatives are infinite
        apart = torch.where(alike, 2 * one, two)
        return torch.where(alike, _mean_of_equals(lengths, one, two), _closed(lengths, one, apart))

    def extent(self, widths: Tensor | None, accuracy: float) -> float:
        """Where the widest charge's r · c(r) has fallen to the accuracy."""
        if widths is None:
            raise ModelError("Slater charges need widths (1/zeta, Å); none are given.")
        u = -math.log(accuracy)
        for _ in range(20):  # u = 2 r / w
            u = -math.log(accuracy) + math.log(1 + u * (11 / 16 + u * (3 / 16 + u / 48)))
        return 0.5 * u * float(widths.detach().max())

    def self_interaction(self, widths: Tensor | None) -> Tensor:
        """5 / (8 w)."""
        if widths is None:
            raise ModelError("Slater charges need widths (1/zeta, Å); none are given.")
        return 5 / (8 * widths)


def _equal(lengths: Tensor, exponent: Tensor) -> Tensor:
    """c(r) of two charges with the same exponent."""
    u = exponent * lengths
    return torch.exp(-2 * u) * (1 + u * (11 / 8 + u * (3 / 4 + u / 6))) / lengths


def _mean_of_equals(lengths: Tensor, one: Tensor, two: Tensor) -> Tensor:
    total = torch.zeros_like(lengths)
    for node, weight in zip(0.5 * (_nodes + 1), 0.5 * _weights, strict=True):
        squared = node * one.square() + (1 - node) * two.square()
        share = float(weight * 6 * node * (1 - node)) * (one * two).square().square() / squared**4
        total = total + share * _equal(lengths, squared.sqrt())
    return total


def _closed(lengths: Tensor, one: Tensor, two: Tensor) -> Tensor:
    return _side(lengths, one, two) + _side(lengths, two, one)


def _side(lengths: Tensor, one: Tensor, two: Tensor) -> Tensor:
    """The part of c(r) that falls off as exp(-2 one r)."""
    product = (one + two) * (one - two)
    linear = one * two**4 / product**2
    inverse = (3 * one**2 * two**4 - two**6) / product**3
    return torch.exp(-2 * one * lengths) * (linear + inverse / lengths)
