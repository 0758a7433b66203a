"""Long-distance equivariants inside of the message passing: potentials of latent densities as features."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Interval
from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.longrange.multipoles.channels import channel_fields
from eqff.longrange.multipoles.damping import Damping, GaussianDamping
from eqff.longrange.multipoles.interaction import MultipoleInteraction
from eqff.longrange.multipoles.moments import traceless, unpack_symmetric
from eqff.longrange.multipoles.switching import SwitchedDamping
from eqff.nn.spherical import components, coupling
from eqff.parts import Exchange
from eqff.ranges import Count, InnerShare, NonNegative, Positive


class LongRangeDescriptors(Exchange):
    """After each pass, features grow by the potential, field and field gradient of latent Gaussian densities.

    LODE's idea [Grisafi & Ceriotti, J. Chem. Phys. 151, 204105 (2019); with exponents p, of which this is p = 1,
    Huguenin-Dumittan et al., J. Phys. Chem. Lett. 14, 9612 (2023)]: what is far away enters through the potential that
    it makes here, projected on degrees 0, 1 and 2 about each atom. There densities are those of the elements and radial
    functions project; here each of K densities is read from the scalars, and the potential, its slope and its curvature
    at the nucleus are taken, of the far field or of all. Energies and forces are the only labels it needs; it holds no
    energy of its own.

    A density need not be neutral: a uniform background balances it in crystals, a convention in slabs and wires, and
    fragments see each other at any distance.

    Args:
        channels: Channels of the backbone.
        num_passes: Passes of the backbone; each has weights of its own.
        densities: K.
        degree: Highest degree of the projections, 0 to 2.
        short_range: "switch": only what is farther away than ``switch`` counts, the far field, and the rest is left to
            messages; "gaussian": near atoms too, smeared.
        switch: Å; nothing of a density is seen up to the first, all of it from the second on.
        width: Å; w of smeared densities exp(-r²/w²).
        scale: e; times what is read.
        cutoff: Of neighbours in periodic structures, Å; smearing or switch have to end within.
        accuracy: Of lattice sums, relative to the force between unit charges at 1 Å.
        mesh_from: Atoms from which on periodic structures are summed on a mesh.

    Raises:
        ConfigError: The switch does not rise.
        ModelError: The switch or the densities reach beyond the cutoff.
    """

    reads = ("positions",)
    compiles = False

    def __init__(
        self,
        channels: int,
        num_passes: int,
        densities: Count = 8,
        degree: Annotated[int, Interval(ge=0, le=2)] = 1,
        short_range: Literal["switch", "gaussian"] = "switch",
        switch: tuple[NonNegative, Positive] = (2.0, 5.0),
        width: Positive = 1.0,
        scale: Positive = 0.1,
        cutoff: Positive = 8.0,
        accuracy: InnerShare = 1e-5,
        mesh_from: Count = 500,
    ):
        super().__init__()
        self.degree, self.width, self.scale = degree, width, scale
        self.switch = SwitchedDamping(*switch) if short_range == "switch" else None
        self.interaction = MultipoleInteraction(None, cutoff, accuracy, mesh_from)
        self.interaction.require_reach(self._damping(torch.zeros(1)).extent(accuracy))
        self.read = nn.ModuleList(nn.Linear(channels, densities, bias=False) for _ in range(num_passes))
        self.update = nn.ModuleList(FieldUpdate(channels, densities, degree) for _ in range(num_passes))
        basis = coupling(1, 1, 2).permute(2, 0, 1)  # orthonormal, of symmetric traceless matrices
        self.register_buffer("basis", basis.to(torch.get_default_dtype()), persistent=False)

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """Those of the sums."""
        return self.interaction.neighbour_lists

    def forward(self, index: int, features: Tensor, graph: AtomicGraph) -> tuple[Tensor, dict[str, Tensor]]:
        """New features; no fields.

        Raises:
            ModelError: Atoms lie on each other.
        """
        densities = self.scale * self.read[index](features[:, 0])
        return self.update[index](features, self.projections(graph, densities)), {}

    def projections(self, graph: AtomicGraph, densities: Tensor) -> list[Tensor]:
        """Of degree 0, 1, ...: potential, field, traceless field gradient in V, V/Å, V/Å², each (N, 2l + 1, K).

        Args:
            graph: The batch.
            densities: e, (N, K).
        """
        # of charges and these fields, whose ranks add up to the degree
        ranks = {"rank": 1, "field_rank": max(self.degree - 1, 0)}
        bound = self.interaction.bind(graph, self._damping(graph.batch), **ranks)
        rows = channel_fields(bound, densities.to(torch.float64), self.degree).to(densities.dtype)
        found = [rows[:, :1]]
        if self.degree >= 1:
            found.append(rows[:, 1:4])  # e3nn's l = 1 components are x, y, z
        if self.degree == 2:
            gradient = unpack_symmetric(rows[:, 4:].transpose(1, 2).flatten(0, 1))
            by_degree = torch.einsum("nab,mab->nm", traceless(gradient), self.basis)
            found.append(by_degree.reshape(len(rows), -1, 5).transpose(1, 2))
        return found

    def _damping(self, atoms: Tensor) -> Damping:
        """For atoms of which something is given, (N,)."""
        return self.switch or GaussianDamping(torch.full_like(atoms, self.width, dtype=torch.float64))


class FieldUpdate(nn.Module):
    """How projections enter features: degree by degree, and in the scalars also as products.

    Scalars s grow by W (F s · phi), which makes s·phi, the energy of a density in the potential of others, linear for
    a readout; by a network of s, phi and the norms of the other degrees; features of degrees that are there, by linear
    images of the projections.

    Args:
        channels: C.
        densities: K.
        degree: Of the projections.
    """

    def __init__(self, channels: int, densities: int, degree: int):
        super().__init__()
        self.seen = nn.Linear(channels, densities, bias=False)
        self.products = nn.Linear(densities, channels, bias=False)
        self.images = nn.ModuleList(nn.Linear(densities, channels, bias=False) for _ in range(degree))
        self.scalars = nn.Linear(channels, channels)
        self.potential = nn.Linear(densities, channels, bias=False)
        self.norms = nn.ModuleList(nn.Linear(channels, channels, bias=False) for _ in range(degree))
        self.out = nn.Linear(channels, channels, bias=False)

    def forward(self, features: Tensor, projections: list[Tensor]) -> Tensor:
        """From features (N, (L + 1)², C) and projections of degree l, (N, 2l + 1, K) each, to new features."""
        scalars, potential = features[:, 0], projections[0][:, 0]
        images = [image(values) for image, values in zip(self.images, projections[1:], strict=True)]
        hidden = self.scalars(scalars) + self.potential(potential)
        for norm, image in zip(self.norms, images, strict=True):
            hidden = hidden + norm(image.square().mean(dim=1))
        update = self.products(self.seen(scalars) * potential) + self.out(nn.functional.silu(hidden))
        grown = [features[:, :1] + update[:, None]]
        for degree, image in enumerate(images, start=1):
            if features.shape[1] >= components(degree).stop:
                grown.append(features[:, components(degree)] + image)
        there = sum(part.shape[1] for part in grown)
        return torch.cat([*grown, features[:, there:]], dim=1)
