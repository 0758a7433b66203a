"""Pairwise dispersion whose coefficients are learned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.dispersion.all_pairs import pair_lists
from eqff.dispersion.cutoffs import Cutoff
from eqff.dispersion.damping import LearnedDamping
from eqff.dispersion.factorised import FactorisedSum
from eqff.dispersion.own_coefficients import own_c6, own_radii
from eqff.dispersion.references import PairCoefficients
from eqff.dispersion.two_body import PAIRS, TwoBody
from eqff.errors import ConfigError
from eqff.nn.species import SpeciesIndex
from eqff.parts import Fields, Term
from eqff.ranges import InnerShare, NonNegative, Positive


class LearnedDispersion(Term):
    """E = -sum over pairs of sqrt(C6_i C6_j) / (r⁶ + (R_i + R_j)⁶).

    Each element has a radius R that is learned, and a C6 that is learned or read from a field. Both begin at values of
    D3's tables. Sums end smoothly at the cutoff; crystals and liquids have the uniform tail beyond it.

    Args:
        elements: Atomic numbers covered (offered by the data).
        c6: The field of C6 in eV·Å⁶, for example "c6_coefficients"; null for one of each element that is learned here.
        cutoff: Of pairs, Å.
        fade: Å over which it goes to zero before the cutoff; 0 for a step there.
        tail: Whether crystals and liquids have what lies beyond the cutoff, as uniformly filled space.
        accuracy: Null for sums that end at the cutoff, with the tail. A number for sums without an end: all pairs of
            open structures, in periodic ones the lattice sum of 1/r⁶, slabs and wires too, of which so much may be left
            out; the cutoff is then that of its pairs.

    Raises:
        ConfigError: An element beyond Z = 103, a cutoff shorter than ``fade``, or no tail where sums have no end.
    """

    compiles = False  # pairs are selected by value

    def __init__(
        self,
        elements: Sequence[int],
        c6: str | None = None,
        cutoff: Positive = 12.0,
        fade: NonNegative = 2.0,
        tail: bool = True,
        accuracy: InnerShare | None = None,
    ):
        super().__init__()
        self.c6 = c6
        self.reads = ("numbers",) + ((c6,) if c6 else ())
        self.species = SpeciesIndex(elements)
        if accuracy is not None and not tail:
            raise ConfigError("tail=false belongs to sums that end at the cutoff; with accuracy they have no end.")
        damping, ends = LearnedDamping(own_radii(elements).tolist()), Cutoff(cutoff, fade)
        self.two_body = TwoBody(damping, ends, tail) if accuracy is None else None
        self.endless = None if accuracy is None else FactorisedSum(damping, ends, accuracy)
        self.lists = {PAIRS: cutoff} if accuracy is None else pair_lists(cutoff)
        self.log_c6: nn.Parameter | None = None
        if c6 is None:
            self.log_c6 = nn.Parameter(own_c6(elements).log().to(torch.get_default_dtype()))

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """Those of the sum."""
        return self.lists

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """Each atom's share in eV, (N,)."""
        species = self.species(graph.numbers)
        own = fields[self.c6] if self.log_c6 is None else self.log_c6.to(torch.float64).exp()[species]
        roots = own.to(torch.float64).sqrt()[:, None]
        # the product of both roots: one reference for all, whose weights they are
        products = PairCoefficients(roots, roots[:, None].expand(-1, self.species.size, -1), species)
        if self.endless is not None:
            return {"energy": self.endless(graph, roots[:, 0], products)}
        return {"energy": self.two_body(graph, products)}
