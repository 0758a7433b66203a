"""Coefficients of atoms between those of reference molecules: the idea that D3 and D4 share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def gaussian_weights(coordination: Tensor, references: Tensor, exponents: Tensor) -> Tensor:
    """How much an atom is like each of its references: Gaussians of coordination numbers, normalised.

    w_a ∝ sum_g exp(-exponent_ag (CN - CN_a)²). Normalised as logarithms, so that it holds wherever an atom is, also
    where every Gaussian underflows: there the nearest reference has all the weight.

    Args:
        coordination: CN of atoms, (N,).
        references: CN_a, (N, A).
        exponents: Of each Gaussian, (N, A, G); NaN for none.

    Returns:
        (N, A), which sum to 1.
    """
    squared = (coordination[:, None] - references).square()
    missing = exponents.isnan()
    logits = torch.where(missing, -torch.inf, -exponents.masked_fill(missing, 0.0) * squared[:, :, None])
    return torch.softmax(logits.flatten(1), dim=1).reshape(logits.shape).sum(dim=2)


@dataclass(frozen=True)
class PairCoefficients:
    """C6 of any two atoms in eV·Å⁶, as sum_ab w_a(i) w_b(j) C6_ab; never all of them at once.

    Attributes:
        weights: (N, A).
        towards: What an atom has with each reference of each element, sum_a w_a(i) C6_ab, (N, S, A).
        species: Row of the element of each atom, (N,).
    """

    weights: Tensor
    towards: Tensor
    species: Tensor

    @classmethod
    def of(cls, weights: Tensor, species: Tensor, references: Tensor) -> PairCoefficients:
        """From weights (N, A) and C6 of references (S, A, S, A) in eV·Å⁶."""
        num_species, num_references = references.shape[:2]
        rows = references.reshape(num_species, num_references, -1)[species]
        towards = (weights[:, None, :] @ rows).reshape(-1, num_species, num_references)
        return cls(weights, towards, species)

    def c6(self, first: Tensor, second: Tensor) -> Tensor:
        """Of pairs (P,)."""
        return (self.towards[first, self.species[second]] * self.weights[second]).sum(dim=1)
