"""Polarizabilities of atoms: positive numbers or tensors, read from the environment or tabulated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.dispersion.free_atoms import FREE_ATOMS
from eqff.errors import ConfigError
from eqff.heads.bounded_factor import BoundedFactor
from eqff.heads.formal_charges import by_element
from eqff.nn.spherical import components, coupling
from eqff.parts import Fields, Head
from eqff.ranges import Positive, Size

_REACH = 0.5  # of the anisotropy A in its norm: eigenvalues of 1 + A stay between 0.59 and 1.41


class Polarizabilities(BoundedFactor):
    """alpha_i = alpha0(Z_i) exp(L tanh(x_i / L)) (1 + A_i)², with x from the scalars and A from the l = 2 features.

    A is symmetric, traceless and smaller than 1/2, so alpha is positive whatever the features are, and smooth; the
    isotropic part stays within a factor, because atoms much more polarizable than real ones polarize each other without
    end. Atomic polarizabilities learned from molecular ones: Wilkins et al., PNAS 116, 3401 (2019).

    Args:
        channels: Channels of the backbone.
        num_passes: Passes of the backbone.
        elements: Atomic numbers covered.
        anisotropic: Whether A is read; else alpha is a multiple of the unit matrix.
        hidden: Width of the nonlinear readout of x; 0 for a linear one alone.
        start: alpha0 in Å³ by element symbol or atomic number; for elements that it leaves out, the free atom's.
        largest_factor: exp(L).
        largest: Å³ that a third of the trace never reaches: L is smaller for elements that would pass it. None for no
            such bound. Damping of large ones reaches far, and must end within a periodic sum's cutoff.

    Raises:
        ConfigError: A start that is not positive or above ``largest``, or an element without one.
    """

    writes = ("atomic_polarizabilities",)

    def __init__(
        self,
        channels: int,
        num_passes: int,
        elements: tuple[int, ...],
        anisotropic: bool = True,
        hidden: Size = 32,
        start: Mapping[str | int, float] | None = None,
        largest_factor: Annotated[float, Gt(1)] = 2.0,
        largest: Positive | None = None,
    ):
        super().__init__(channels, num_passes, hidden)
        self.reads = ("pass_scalars", "numbers") + (("features",) if anisotropic else ())
        self.degree = 2 if anisotropic else 0
        self.register_buffer("start", _starts(start or {}, elements), persistent=False)
        above = 1 + _REACH**2 / 3 if anisotropic else 1.0  # of a third of the trace by what A adds
        limits = _limits(self.start, largest_factor, None if largest is None else largest / above, elements)
        self.register_buffer("limits", limits, persistent=False)
        self.bounds = {"atomic_polarizabilities": above * float((self.start * limits.exp()).max())}
        self.tensors = None
        if anisotropic:
            self.tensors = nn.Linear(channels, 1, bias=False)
            nn.init.zeros_(self.tensors.weight)
        matrices = coupling(1, 1, 2).permute(2, 0, 1)  # of Frobenius norm 1
        self.register_buffer("matrices", matrices.to(torch.get_default_dtype()), persistent=False)

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``atomic_polarizabilities`` in Å³, (N, 3, 3)."""
        size = self.start[graph.numbers] * self.factor(fields, self.limits[graph.numbers])
        shape = torch.eye(3, dtype=size.dtype, device=size.device).expand(len(size), 3, 3)
        if self.tensors is not None:
            features = fields["features"][:, components(2)]
            quadratic = self.tensors(features)[..., 0] / features.shape[-1] ** 0.5
            # bounded in its norm, without a square root of what may be zero
            quadratic = _REACH * quadratic / (_REACH**2 + quadratic.square().sum(dim=1, keepdim=True)).sqrt()
            root = shape + torch.einsum("nm,mab->nab", quadratic, self.matrices)
            shape = root @ root
        return {"atomic_polarizabilities": size[:, None, None] * shape}


class TabulatedPolarizabilities(Head):
    """alpha_i = alpha(Z_i): the same for every atom of an element, isotropic, given by the user.

    Args:
        values: Å³ by element symbol or atomic number; zero for elements without induced dipoles.
        elements: Atomic numbers covered; each needs one.

    Raises:
        ConfigError: An element without a value, or a negative one.
    """

    reads = ("numbers",)
    writes = ("atomic_polarizabilities",)

    def __init__(self, values: Mapping[str | int, float], elements: tuple[int, ...]):
        super().__init__()
        table = by_element(values, elements, "polarizabilities")
        if bool((table < 0).any()):
            raise ConfigError(f"polarizabilities: {dict(values)} are not all zero or above.")
        self.register_buffer("table", table.to(torch.get_default_dtype()), persistent=False)

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``atomic_polarizabilities`` in Å³, (N, 3, 3)."""
        values = self.table[graph.numbers]
        return {"atomic_polarizabilities": torch.diag_embed(values[:, None].expand(-1, 3))}


def _starts(given: Mapping[str | int, float], elements: tuple[int, ...]) -> Tensor:
    free = {number: FREE_ATOMS[number][0] for number in elements if number in FREE_ATOMS}
    # what is given comes last, and so counts
    table = by_element(free | dict(given), elements, "polarizabilities")
    if not bool((table[list(elements)] > 0).all()):
        raise ConfigError(f"polarizabilities: {dict(given)} are not all above 0 Å³.")
    return table.to(torch.get_default_dtype())


def _limits(start: Tensor, factor: float, largest: float | None, elements: tuple[int, ...]) -> Tensor:
    """L of each element, indexed by atomic number."""
    limits = torch.full_like(start, math.log(factor))
    if largest is None:
        return limits
    room = (largest / start.clamp(min=torch.finfo(start.dtype).tiny)).log()
    beyond = [element for element in elements if float(room[element]) <= 0]
    if beyond:
        from ase.data import chemical_symbols

        names = ", ".join(f"{chemical_symbols[element]} {float(start[element]):.3g}" for element in beyond)
        raise ConfigError(
            f"polarizabilities: 'largest' leaves {largest:.3g} Å³ to start from, but these start above: {names}. "
            "Give a smaller start for them, or a larger 'largest'."
        )
    return torch.minimum(limits, room)
