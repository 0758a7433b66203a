"""NequIP, in the form that SevenNet gave it, so that its published weights fit (`eqff.imported.sevenn`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError
from eqff.nn.convolution import Neighbourhood, SphericalConvolution
from eqff.nn.degree_channels import join_degrees, split_degrees
from eqff.nn.radial import LearnedBesselBasis, polynomial_cutoff, xplor_cutoff
from eqff.nn.species import SpeciesIndex
from eqff.nn.spherical import SphericalHarmonics
from eqff.nn.state import ChargeSpinEmbedding
from eqff.parts import Backbone
from eqff.ranges import Count, Positive


class Interaction(nn.Module):
    """Linear map, convolution, linear map, plus a linear map of what came in; then a gate [Batzner 2022, fig. 1].

    Args:
        channels_in: C_l of the features, l = 0, 1, ...
        channels_out: C_l after it.
        convolution: Settings of `SphericalConvolution` beside its channels and degrees.
        degree: Highest degree of the harmonics.
        neighbours: Mean number of neighbours, by whose root the sum over them is divided.
    """

    def __init__(
        self,
        channels_in: Sequence[int],
        channels_out: Sequence[int],
        degree: int,
        neighbours: float,
        **convolution: object,
    ):
        super().__init__()
        self.channels_out = tuple(channels_out)
        mixed = (sum(channels_out), *channels_out[1:])  # a scalar more for each component that a gate opens
        self.before = DegreeMaps(channels_in, channels_in)
        self.convolution = SphericalConvolution(channels_in, degree, len(channels_out) - 1, **convolution)
        self.after = DegreeMaps(self.convolution.channels_out, mixed)
        self.skip = DegreeMaps(channels_in, mixed)
        self.register_buffer("divisor", torch.tensor(math.sqrt(max(neighbours, 1.0))))

    def forward(self, parts: Sequence[Tensor], pairs: Neighbourhood) -> list[Tensor]:
        """From (N, 2l + 1, C_l) for each degree to the same with the channels that come out."""
        summed = [part / self.divisor for part in self.convolution(self.before(parts), pairs)]
        skipped = self.skip(parts)
        mixed = [part + skipped[l] if l < len(skipped) else part for l, part in enumerate(self.after(summed))]
        scalars, *gates = nn.functional.silu(mixed[0]).split(self.channels_out, dim=2)
        return [scalars, *(gate * part for gate, part in zip(gates, mixed[1:], strict=True))]


class DegreeMaps(nn.Module):
    """A matrix for each degree that both sides have; no bias.

    Args:
        channels_in: C_l, l = 0, 1, ...
        channels_out: C'_l.
    """

    def __init__(self, channels_in: Sequence[int], channels_out: Sequence[int]):
        super().__init__()
        sizes = list(zip(channels_in, channels_out, strict=False))
        self.weights = nn.ParameterList(torch.randn(c_in, c_out) / math.sqrt(c_in) for c_in, c_out in sizes)

    def forward(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """From (N, 2l + 1, C_l) to (N, 2l + 1, C'_l)."""
        return [part @ weight for part, weight in zip(parts, self.weights, strict=False)]


class NequIP(Backbone):
    """Messages by tensor products with radial networks [Batzner et al., Nat. Commun. 13, 2453 (2022)].

    As in SevenNet [Park, Kim, Hwang & Han, J. Chem. Theory Comput. 20, 4857 (2024)]: self-connections are the same for
    all elements, and higher degrees have fewer channels than scalars. Features have degrees in natural parity, as all
    of eqff's; with ``reflections`` false also paths with odd l1 + l2 + l3 are taken, as SevenNet's published models
    have them: mirror images may then differ in energy.

    Args:
        elements: Atomic numbers covered (offered by the data).
        mean_neighbours: Of an atom within the cutoff (offered by the data).
        out_degree: Highest degree that heads and terms read (offered by them).
        channels: Channels of scalars.
        higher_channels: Channels of degrees 1, 2, ... between passes, none above ``channels``; how many there are is
            the highest degree L of features and spherical harmonics.
        num_passes: Interactions.
        cutoff: Å.
        radial_size: Functions sin(ω_n r) / r of the radial basis, whose ω_n are learned.
        radial_hidden: Widths of the radial network's hidden layers.
        envelope: How radial functions end at the cutoff: "polynomial" (degree 6), or "xplor" from ``xplor_onset`` on.
        xplor_onset: Å.
        reflections: Whether features respect reflections.
        charge_and_spin: Whether total charge and multiplicity enter; neutral singlets are the same either way.

    Raises:
        ConfigError: A higher degree is read than there is, or one without reflections; channels that don't fit.
    """

    reads = ("numbers", "positions", "total_charge", "multiplicity")

    def __init__(
        self,
        elements: Sequence[int],
        mean_neighbours: float = 16.0,
        out_degree: int = 0,
        channels: Count = 64,
        higher_channels: tuple[Count, ...] = (32, 16),
        num_passes: Count = 3,
        cutoff: Positive = 5.0,
        radial_size: Count = 8,
        radial_hidden: tuple[Count, ...] = (64, 64),
        envelope: Literal["polynomial", "xplor"] = "polynomial",
        xplor_onset: Positive = 4.5,
        reflections: bool = True,
        charge_and_spin: bool = True,
    ):
        super().__init__()
        _check(out_degree, channels, higher_channels, reflections, cutoff, xplor_onset if envelope == "xplor" else 0.0)
        self.channels, self.num_passes, self.cutoff = channels, num_passes, cutoff
        self.xplor_onset = xplor_onset if envelope == "xplor" else None
        between = (channels, *higher_channels)
        self.widths = [(channels,), *[between] * (num_passes - 1), between[: out_degree + 1]]
        self.species = SpeciesIndex(elements)
        self.embedding = nn.Parameter(torch.randn(len(elements), channels))
        self.states = None
        if charge_and_spin:
            self.states = nn.ModuleList(ChargeSpinEmbedding(channels) for _ in range(num_passes))
        self.basis = LearnedBesselBasis(cutoff, radial_size)
        self.harmonics = SphericalHarmonics(len(higher_channels))
        settings = {"radial_size": radial_size, "radial_hidden": radial_hidden, "reflections": reflections}
        self.interactions = nn.ModuleList(
            Interaction(self.widths[index], self.widths[index + 1], len(higher_channels), mean_neighbours, **settings)
            for index in range(num_passes)
        )

    def prepare(self, graph: AtomicGraph) -> Neighbourhood:
        """Radial basis and spherical harmonics of every pair."""
        edges = graph.local
        if self.xplor_onset is None:
            ends = polynomial_cutoff(edges.lengths, self.cutoff)
        else:
            ends = xplor_cutoff(edges.lengths, self.cutoff, self.xplor_onset)
        harmonics = self.harmonics(edges.vectors / edges.lengths[:, None])
        return Neighbourhood(edges.sender, edges.receiver, self.basis(edges.lengths) * ends[:, None], harmonics)

    def embed(self, graph: AtomicGraph) -> Tensor:
        """The elements' learned vectors, (N, 1, channels)."""
        return self.embedding[self.species(graph.numbers)][:, None]

    def interact(self, index: int, features: Tensor, graph: AtomicGraph, prepared: Neighbourhood) -> Tensor:
        """Features after pass ``index``, (N, (degree + 1)², channels); channels that a degree has not are zero."""
        parts = split_degrees(features, self.widths[index])
        if self.states is not None:
            scalars = parts[0][:, 0]
            state = self.states[index](scalars, graph.total_charge, graph.multiplicity, graph.batch)
            parts[0] = (scalars + state)[:, None]
        return join_degrees(self.interactions[index](parts, prepared), self.channels)


def _check(
    out_degree: int, channels: int, higher: Sequence[int], reflections: bool, cutoff: float, onset: float
) -> None:
    if out_degree > len(higher):
        raise ConfigError(
            f"A head or term reads degree {out_degree}, but higher_channels gives NequIP {len(higher)} beside scalars: "
            "give it a number of channels for each degree."
        )
    if out_degree and not reflections:
        raise ConfigError(
            f"A head or term reads degree {out_degree}, but with reflections=false vectors and tensors don't know how "
            "they turn under a reflection. Only scalars can be read, or take reflections=true."
        )
    if any(count > channels for count in higher):
        raise ConfigError(f"higher_channels {list(higher)}: no degree can have more than the {channels} of scalars.")
    if onset >= cutoff:
        raise ConfigError(f"xplor_onset is {onset} Å, but must be below the cutoff, {cutoff} Å.")
