"""DFT-D3 dispersion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.dispersion.cutoffs import Cutoff
from eqff.dispersion.d3.coordination import d3_coordination
from eqff.dispersion.d3.references import D3References, pair_radii
from eqff.dispersion.damping import Damping, RationalDamping, ZeroDamping
from eqff.dispersion.functionals import Method, damping_parameters
from eqff.dispersion.pairs import Pairs
from eqff.dispersion.references import PairCoefficients
from eqff.dispersion.tables import rows, table
from eqff.dispersion.three_body import TRIPLES, AxilrodTellerMuto
from eqff.dispersion.two_body import PAIRS, TwoBody, moment_roots
from eqff.errors import ConfigError, did_you_mean
from eqff.nn.exact import ExactModule
from eqff.nn.species import SpeciesIndex
from eqff.parts import Fields, Term
from eqff.ranges import NonNegative, Positive

THREE_BODY_STRETCH = 4 / 3
"""Of the pairs' radii in the damping of triples."""
METHODS: Mapping[str, Method] = {"bj": "d3_bj", "zero": "d3_zero"}


class D3(Term, ExactModule):
    """E = -sum over pairs of C6 (s6 f6(r)/r⁶ + s8 (C8/C6) f8(r)/r⁸), C6 following the atoms' coordination numbers.

    [Grimme et al., J. Chem. Phys. 132, 154104 (2010); with ``damping: bj`` J. Comput. Chem. 32, 1456 (2011)]. Nothing
    is learned. Structures may have any periodicity; sums end at the cutoffs.

    Args:
        elements: Atomic numbers covered (offered by the data).
        functional: Whose parameters are taken, e.g. "pbe"; null where ``parameters`` gives them.
        damping: "bj" (rational) or "zero".
        parameters: Parameters by their published names instead of the functional's: s6, s8, s9, alp, and a1, a2 (bohr)
            of "bj" or rs6, rs8 of "zero".
        three_body: Whether triples are summed too (Axilrod, Teller and Muto).
        cutoff: Of pairs, Å.
        coordination_cutoff: Of neighbours that count towards coordination numbers, Å.
        three_body_cutoff: Of each distance of a triple, Å.
        fade: Å; over this distance pairs and triples go to zero before their cutoffs; coordination too, but over no
            more than a quarter of its cutoff. 0 for steps, as other programs have them.
        tail: Whether crystals and liquids have what lies beyond the cutoff of pairs, as uniformly filled space.

    Raises:
        ConfigError: An unknown functional or parameter, parameters that are missing, an element beyond Z = 103, or a
            cutoff shorter than ``fade``.
    """

    reads = ("numbers",)
    compiles = False  # pairs are selected by value

    def __init__(
        self,
        elements: Sequence[int],
        functional: str | None = None,
        damping: Literal["bj", "zero"] = "bj",
        parameters: Mapping[str, float] | None = None,
        three_body: bool = False,
        cutoff: Positive = 16.0,
        coordination_cutoff: Positive = 12.0,
        three_body_cutoff: Positive = 8.0,
        fade: NonNegative = 2.0,
        tail: bool = True,
    ):
        super().__init__()
        if damping not in METHODS:
            raise ConfigError(f"damping: no '{damping}'.{did_you_mean(damping, METHODS)}")
        published = damping_parameters(METHODS[damping], functional, parameters)
        self.species, self.references = SpeciesIndex(elements), D3References(elements)
        self.counted = Cutoff(coordination_cutoff, min(fade, coordination_cutoff / 4))  # bonds count whole
        radii = pair_radii(elements)
        self.register_buffer("covalent_radii", rows(table("elements")["covalent_radii"], elements), persistent=False)
        moments = moment_roots(elements)
        form: Damping = (
            RationalDamping(published, moments) if damping == "bj" else ZeroDamping(published, moments, radii)
        )
        self.two_body = TwoBody(form, Cutoff(cutoff, fade), tail)
        self.three_body: AxilrodTellerMuto | None = None
        if three_body:
            within = Cutoff(three_body_cutoff, fade)
            stretched = THREE_BODY_STRETCH * radii
            self.three_body = AxilrodTellerMuto(published["s9"], published["alp"] + 2, stretched, within)

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """One list as far as pairs reach, a shorter one for triples, of which there are many more."""
        lists = {PAIRS: max(self.two_body.cutoff.radius, self.counted.radius)}
        if self.three_body is not None:
            lists[TRIPLES] = self.three_body.cutoff.radius
        return lists

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """Each atom's share in eV, (N,)."""
        _, coefficients = self.of_atoms(graph)
        energy = self.two_body(graph, coefficients)
        if self.three_body is not None:
            energy = energy + self.three_body(graph.edges[TRIPLES], coefficients)
        return {"energy": energy}

    def of_atoms(self, graph: AtomicGraph) -> tuple[Tensor, PairCoefficients]:
        """Coordination numbers (N,), and the C6 that follow them."""
        species = self.species(graph.numbers)
        pairs = Pairs.of(graph.edges[PAIRS], self.counted)
        coordination = d3_coordination(pairs, self.covalent_radii[species], self.counted)
        return coordination, self.references(coordination, species)
