"""The four kinds of parts that a potential is made of, and what each promises.

A part says which fields it reads and writes; values go in as arguments and come out as a new dict. No part edits what
it was given or calls another part; `eqff.potential.Potential` is the only place that joins them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from torch import Tensor, nn

from eqff.data.graph import AtomicGraph

Fields = Mapping[str, Tensor]


class Part(nn.Module):
    """What every part has.

    Attributes:
        reads: Fields that must exist before this part runs. Those with role "input" always do.
        writes: Fields that it adds.
        neighbour_lists: The neighbour lists it needs: name and cutoff in Å. Where several parts name one list, the
            largest cutoff is taken and each part must be zero beyond its own.
        compiles: Whether it can be compiled: no shape or branch depends on values.
        compiles_open: Whether it can for batches of open structures, where it can't for others; see `AtomicGraph.open`.
        holds: Contributions to the energy that only one part may hold; see `eqff.contributions`.
        bounds: Fields that it writes and that can never exceed a value, whatever is learned: name and that value.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    compiles: bool = True
    compiles_open: bool = False
    holds: tuple[str, ...] = ()
    bounds: Mapping[str, float] = MappingProxyType({})

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """Name and cutoff (Å) of each neighbour list that is needed."""
        return {}

    def compiles_for(self, graph: AtomicGraph) -> bool:
        """Whether it can be compiled for this batch; no tensor is looked at."""
        return self.compiles or (self.compiles_open and graph.open)

    @property
    def runs_inside(self) -> bool:
        """Whether compiled training steps can call it as it is, where it can't be compiled itself."""
        return False

    def check_batch(self, graph: AtomicGraph) -> None:
        """Looks at values of a batch, for compiled code, which can't; what runs uncompiled looks for itself.

        Raises:
            ModelError: It can't be treated.
        """

    def heed_bounds(self, bounds: Mapping[str, float]) -> None:
        """Is told the ``bounds`` of all parts, once, when the model is put together."""


class Backbone(Part, ABC):
    """From a graph to features per atom, pass by pass.

    Features are (N, (degree + 1)², channels): spherical components first in e3nn's order l = 0, 1, ..., channels last.
    Component l·l + m belongs to an irrep of parity (-1)^l.

    A constructor is offered ``elements`` (atomic numbers), ``mean_neighbours`` and ``out_degree`` (the highest degree
    that any head or term reads after the last pass), and takes those it names.

    Attributes:
        channels: Channels of the features.
        num_passes: How often `interact` is called.
        cutoff: Å; the local neighbour list's radius.
    """

    writes = ("features", "pass_scalars")
    channels: int
    num_passes: int
    cutoff: float

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """The local list at this backbone's cutoff."""
        return {"local": self.cutoff}

    @abstractmethod
    def prepare(self, graph: AtomicGraph) -> Any:
        """What all passes share, computed once (radial basis, spherical harmonics); handed to `interact`."""

    @abstractmethod
    def embed(self, graph: AtomicGraph) -> Tensor:
        """Features before the first pass, (N, any, channels)."""

    @abstractmethod
    def interact(self, index: int, features: Tensor, graph: AtomicGraph, prepared: Any) -> Tensor:
        """Features after pass ``index`` (0 to num_passes - 1); after the last one (N, (out_degree + 1)², channels)."""


class Exchange(Part, ABC):
    """Works on the features between two passes and may look at the whole structure.

    A constructor is offered ``elements``, ``channels`` and ``num_passes``. What it writes is kept for every pass: field
    ``x`` holds the last pass's value and ``pass_x`` all of them, stacked along dimension 1.

    Attributes:
        reads_previous: Whether `forward` is given a fourth argument: what it wrote after the pass before, nothing at
            the first one.
    """

    reads_previous: bool = False

    @abstractmethod
    def forward(self, index: int, features: Tensor, graph: AtomicGraph) -> tuple[Tensor, dict[str, Tensor]]:
        """The new features, same shape, and the fields named in ``writes``, after pass ``index``."""


class Head(Part, ABC):
    """From features to named properties, with their constraints over the whole structure.

    A constructor is offered ``elements``, ``channels`` and ``num_passes``.

    Attributes:
        degree: Highest degree l of ``features`` that it reads.
        after_terms: Whether it reads what terms write (as induced dipoles), and so runs after them; no term can read
            what it writes.
        differentiates: Whether it takes derivatives by ``graph.positions``, which then carry gradients.
    """

    degree: int = 0
    after_terms: bool = False
    differentiates: bool = False

    @property
    def runs_inside(self) -> bool:
        """See `Part.runs_inside`: unless it takes derivatives of what was before it."""
        return not self.differentiates

    @abstractmethod
    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """The fields named in ``writes``."""


class Term(Part, ABC):
    """A named contribution to the energy.

    A constructor is offered ``elements``, ``channels``, ``num_passes``, ``reference_energies`` (Z to eV) and
    ``energy_scale`` (eV). Terms never compute forces.

    Attributes:
        degree: Highest degree l of ``features`` that it reads.
        level: Whether the energy is given per atom (N,) or per structure (B,).
    """

    degree: int = 0
    level: Literal["atom", "structure"] = "atom"

    @property
    def runs_inside(self) -> bool:
        """See `Part.runs_inside`."""
        return True

    @abstractmethod
    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``energy`` in eV at this term's level, and the fields named in ``writes``."""
