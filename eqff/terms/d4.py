"""DFT-D4 dispersion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.dispersion.cutoffs import Cutoff
from eqff.dispersion.d4.coordination import d4_coordination, reach
from eqff.dispersion.d4.eeq import EEQCharges
from eqff.dispersion.d4.references import D4References
from eqff.dispersion.damping import RationalDamping
from eqff.dispersion.functionals import damping_parameters
from eqff.dispersion.references import PairCoefficients
from eqff.dispersion.tables import rows, table
from eqff.dispersion.three_body import TRIPLES, AxilrodTellerMuto
from eqff.dispersion.two_body import PAIRS, TwoBody, moment_roots
from eqff.nn.exact import ExactModule
from eqff.nn.species import SpeciesIndex
from eqff.parts import Fields, Term
from eqff.ranges import InnerShare, NonNegative, Positive

BONDS = "dispersion_bonds"
"""Name of the neighbour list in which coordination is counted."""


@dataclass(frozen=True)
class D4Atoms:
    """What D4 knows of each atom.

    Attributes:
        coordination: CN, (N,).
        charges: e, (N,).
        polarizabilities: Static and isotropic, Å³, (N,).
        coefficients: C6 of pairs.
    """

    coordination: Tensor
    charges: Tensor
    polarizabilities: Tensor
    coefficients: PairCoefficients


class D4(Term, ExactModule):
    """D3's energy with coefficients that follow charges too [Caldeweyher et al., J. Chem. Phys. 150, 154122 (2019)].

    Charges are equilibrated (EEQ) within this term, or those of the model. Triples have the coefficients of neutral
    atoms. Nothing is learned.

    Args:
        elements: Atomic numbers covered (offered by the data).
        functional: Whose parameters are taken, e.g. "pbe"; null where ``parameters`` gives them.
        parameters: Parameters by their published names instead of the functional's: s6, s8, s9, a1, a2 (bohr), alp.
        charges: A field of charges that is read in place of EEQ's.
        three_body: Whether triples are summed too, with which D4 was fitted.
        cutoff: Of pairs, Å.
        three_body_cutoff: Of each distance of a triple, Å.
        fade: Å; over this distance pairs and triples go to zero before their cutoffs. 0 for steps, as other programs
            have them.
        tail: Whether crystals and liquids have what lies beyond the cutoff of pairs, as uniformly filled space.
        accuracy: Of the lattice sums of EEQ.

    Raises:
        ConfigError: An unknown functional or parameter, parameters that are missing, an element beyond Z = 103, or a
            cutoff shorter than ``fade``.
    """

    compiles = False  # pairs are selected by value

    def __init__(
        self,
        elements: Sequence[int],
        functional: str | None = None,
        parameters: Mapping[str, float] | None = None,
        charges: str | None = None,
        three_body: bool = True,
        cutoff: Positive = 16.0,
        three_body_cutoff: Positive = 8.0,
        fade: NonNegative = 2.0,
        tail: bool = True,
        accuracy: InnerShare = 1e-6,
    ):
        super().__init__()
        published = damping_parameters("d4", functional, parameters)
        self.charges = charges
        self.reads = ("numbers", "positions", "total_charge") + ((charges,) if charges else ())
        self.species, self.references = SpeciesIndex(elements), D4References(elements)
        for name in ("covalent_radii", "electronegativity"):
            self.register_buffer(name, rows(table("elements")[name], elements), persistent=False)
        self.eeq = None if charges else EEQCharges(elements, accuracy)
        damping = RationalDamping(published, moment_roots(elements))
        self.two_body = TwoBody(damping, Cutoff(cutoff, fade), tail)
        self.three_body: AxilrodTellerMuto | None = None
        if three_body:
            within = Cutoff(three_body_cutoff, fade)
            self.three_body = AxilrodTellerMuto(published["s9"], published["alp"], damping.radii(), within)

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """Of bonds, pairs and triples, each as far as it has to go, and of the charges' interaction."""
        lists = {PAIRS: self.two_body.cutoff.radius, BONDS: reach(self.covalent_radii)}
        if self.three_body is not None:
            lists[TRIPLES] = self.three_body.cutoff.radius
        return lists | (self.eeq.neighbour_lists if self.eeq is not None else {})

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """Each atom's share in eV, (N,)."""
        atoms = self.of_atoms(graph, fields)
        species = atoms.coefficients.species
        energy = self.two_body(graph, atoms.coefficients)
        if self.three_body is not None:
            neutral = self.references.weights(atoms.coordination, torch.zeros_like(atoms.charges), species)
            energy = energy + self.three_body(graph.edges[TRIPLES], self.references(neutral, species))
        return {"energy": energy}

    def of_atoms(self, graph: AtomicGraph, fields: Fields) -> D4Atoms:
        """What the energy of pairs is made from."""
        species, bonds = self.species(graph.numbers), graph.edges[BONDS]
        coordination = d4_coordination(bonds, self.covalent_radii[species], self.electronegativity[species])
        charges = fields[self.charges].to(torch.float64) if self.eeq is None else self.eeq(graph, species, BONDS)
        weights = self.references.weights(coordination, charges, species)
        polarizabilities = self.references.polarizabilities(weights, species)
        return D4Atoms(coordination, charges, polarizabilities, self.references(weights, species))
