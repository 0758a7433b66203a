"""Charges that flow along bonds: split-charge equilibration (SQE) and ACKS2 with parameters from the environment."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from eqff.data.graph import LOCAL, AtomicGraph
from eqff.heads.gaussian_charges import GaussianChargeHead
from eqff.longrange.charge_transfer import equilibrate_by_transfer
from eqff.longrange.kernels import smooth_end
from eqff.nn.equilibration import LearnedSharing, Readout
from eqff.parts import Fields
from eqff.ranges import Count, InnerShare, Positive, Size

Initial = Literal["even", "learned"]

HIGHEST = (1 / 3) ** 3 * (2 / 3) ** 6
"""Of t³ (1 - t)⁶."""

FADE = 0.6
"""Share of a bond's reach at which its softness begins to fade out."""


class ChargeTransferHead(GaussianChargeHead):
    """What SQE and ACKS2 share: Gaussian charges that flow from given ones along the bonds of neighbours.

    Subclasses give the softness of each bond.

    Args:
        bond_cutoff: Å; no bond is longer.
        initial: Where charges flow from: "even", the total charge shared evenly; "learned", charges that are read from
            the environment, with the right total.

    Other arguments are those of `GaussianChargeHead`.
    """

    def __init__(
        self,
        channels: int,
        num_passes: int,
        elements: tuple[int, ...],
        hidden: int,
        hardness: float,
        max_width: float,
        cutoff: float,
        accuracy: float,
        bond_cutoff: float,
        initial: Initial,
        mesh_from: int,
        dense_up_to: int,
        tolerance: float,
        max_iterations: int,
    ):
        super().__init__(channels, num_passes, elements, hidden, hardness, max_width, cutoff, accuracy, mesh_from)
        self.bond_cutoff, self.dense_up_to = bond_cutoff, dense_up_to
        self.tolerance, self.max_iterations = tolerance, max_iterations
        self.sharing, self.initial = None, None
        if initial == "learned":
            self.sharing = LearnedSharing()
            self.initial = Readout(channels * num_passes, self.sharing.outputs, hidden, self.sharing.bias)

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """Those of the Coulomb sum, and the bonds among the neighbours that backbones use too."""
        return self.interaction.neighbour_lists | {LOCAL: self.bond_cutoff}

    @abstractmethod
    def softness(self, graph: AtomicGraph, fields: Fields) -> Tensor:
        """Of each of the local edges, the same in both directions, e²/eV, (E,)."""

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``charges`` (N,), what they follow from, and ``equilibration_energy`` (B,).

        Raises:
            ModelError: Conjugate gradients did not converge.
        """
        chi, hardness, widths = self.parameters_of(graph, fields)
        initial = None
        if self.initial is not None and self.sharing is not None:
            read = self.initial(fields["pass_scalars"].flatten(1))
            initial = self.sharing(read.to(torch.float64), graph.total_charge, graph.batch)
        largest = int(torch.bincount(graph.batch, minlength=1).max())
        found = equilibrate_by_transfer(
            graph,
            self.interaction,
            chi,
            hardness,
            widths,
            graph.local,
            self.softness(graph, fields),
            initial=initial,
            iterative=largest > self.dense_up_to,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
        )
        return self.written(found, chi, hardness, widths)


class SplitCharges(ChargeTransferHead):
    """Split-charge equilibration (SQE) with bond hardnesses from the environments of both atoms.

    Charge p_ij flows over each bond at the cost kappa_ij p_ij²/2; 1/kappa_ij is positive, read from the sum of both
    atoms' scalars, and ends smoothly at the bond cutoff. Fragments without bonds between them keep their charges.
    [Nistor et al., J. Chem. Phys. 125, 094108 (2006)]

    Args:
        channels: Channels of the backbone.
        num_passes: Passes of the backbone.
        elements: Atomic numbers covered.
        hidden: Width of the nonlinear readouts; 0 for linear ones alone.
        hardness: J of every element at the start, eV/e².
        bond_hardness: kappa of short bonds at the start, eV/e².
        bond_cutoff: Å; no charge flows over longer distances.
        initial: Where charges flow from: "even", the total charge shared evenly; "learned", charges read from the
            environment.
        max_width: Å; widths stay below. They start at the covalent radii.
        cutoff: Of neighbours in periodic structures, Å; a Gaussian of the largest width has to end within.
        accuracy: Of lattice sums.
        mesh_from: Atoms from which on periodic structures are summed on a mesh.
        dense_up_to: Atoms of the largest structure of a batch up to which matrices are factorised; beyond, conjugate
            gradients.
        tolerance: Relative residual of conjugate gradients.
        max_iterations: After which they are an error.
    """

    def __init__(
        self,
        channels: int,
        num_passes: int,
        elements: tuple[int, ...],
        hidden: Size = 32,
        hardness: Positive = 8.0,
        bond_hardness: Positive = 4.0,
        bond_cutoff: Positive = 3.0,
        initial: Initial = "even",
        max_width: Positive = 1.5,
        cutoff: Positive = 8.0,
        accuracy: InnerShare = 1e-5,
        mesh_from: Count = 500,
        dense_up_to: Count = 499,
        tolerance: Positive = 1e-8,
        max_iterations: Count = 500,
    ):
        super().__init__(
            channels,
            num_passes,
            elements,
            hidden,
            hardness,
            max_width,
            cutoff,
            accuracy,
            bond_cutoff,
            initial,
            mesh_from,
            dense_up_to,
            tolerance,
            max_iterations,
        )
        self.bond = Readout(channels * num_passes, 1, hidden, bias=False)
        self.raw_softness = nn.Parameter(torch.tensor(math.log(math.expm1(1 / bond_hardness))))

    def softness(self, graph: AtomicGraph, fields: Fields) -> Tensor:
        """See `ChargeTransferHead.softness`."""
        bonds = graph.local
        read = self.bond(fields["pass_scalars"].flatten(1))[:, 0]
        both = read[bonds.sender] + read[bonds.receiver]
        fade = smooth_end(bonds.lengths, FADE * self.bond_cutoff, self.bond_cutoff)
        return fade * nn.functional.softplus(self.raw_softness + both)


class ACKS2(ChargeTransferHead):
    """Atom-condensed Kohn-Sham DFT to second order: a response kernel that fades with distance.

    The kernel is that of its form for reactive force fields, X_ij proportional to t³ (1 - t)⁶ with t = 2 r_ij / (b_i +
    b_j) up to one; its highest value X0 and each element's reach b are learned. Polarisability grows linearly with
    size, and fragments further apart than the reach keep their charges. [Verstraelen et al., J. Chem. Phys. 138, 074108
    (2013); O'Hearn, Alperen and Aktulga, SIAM J. Sci. Comput. 42, C1 (2020)]

    Args:
        channels: Channels of the backbone.
        num_passes: Passes of the backbone.
        elements: Atomic numbers covered.
        hidden: Width of the nonlinear readouts; 0 for linear ones alone.
        hardness: J of every element at the start, eV/e².
        softness: X0 at the start, e²/eV.
        bond_cutoff: Å; each element's b stays below. It starts at 0.8 of that.
        initial: Where charges flow from: "even", the total charge shared evenly; "learned", charges read from the
            environment.
        max_width: Å; widths stay below. They start at the covalent radii.
        cutoff: Of neighbours in periodic structures, Å; a Gaussian of the largest width has to end within.
        accuracy: Of lattice sums.
        mesh_from: Atoms from which on periodic structures are summed on a mesh.
        dense_up_to: Atoms of the largest structure of a batch up to which matrices are factorised; beyond, conjugate
            gradients.
        tolerance: Relative residual of conjugate gradients.
        max_iterations: After which they are an error.
    """

    def __init__(
        self,
        channels: int,
        num_passes: int,
        elements: tuple[int, ...],
        hidden: Size = 32,
        hardness: Positive = 8.0,
        softness: Positive = 0.5,
        bond_cutoff: Positive = 4.0,
        initial: Initial = "even",
        max_width: Positive = 1.5,
        cutoff: Positive = 8.0,
        accuracy: InnerShare = 1e-5,
        mesh_from: Count = 500,
        dense_up_to: Count = 499,
        tolerance: Positive = 1e-8,
        max_iterations: Count = 500,
    ):
        super().__init__(
            channels,
            num_passes,
            elements,
            hidden,
            hardness,
            max_width,
            cutoff,
            accuracy,
            bond_cutoff,
            initial,
            mesh_from,
            dense_up_to,
            tolerance,
            max_iterations,
        )
        self.raw_softness = nn.Parameter(torch.tensor(math.log(math.expm1(softness))))
        self.raw_reach = nn.Parameter(torch.full((len(elements),), math.log(0.8 / 0.2)))

    def softness(self, graph: AtomicGraph, fields: Fields) -> Tensor:
        """See `ChargeTransferHead.softness`."""
        bonds = graph.local
        reach = (self.bond_cutoff * torch.sigmoid(self.raw_reach))[self.species(graph.numbers)]
        t = (2 * bonds.lengths / (reach[bonds.sender] + reach[bonds.receiver])).clamp(max=1.0)
        return nn.functional.softplus(self.raw_softness) * t**3 * (1 - t) ** 6 / HIGHEST
