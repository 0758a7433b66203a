"""The screened nuclear repulsion of Ziegler, Biersack and Littmark, which keeps atoms apart where no data does."""

from __future__ import annotations

import torch
from torch import Tensor

from eqff.data.graph import LOCAL, AtomicGraph
from eqff.errors import ConfigError
from eqff.nn.reduce import segment_sum
from eqff.parts import Fields, Term
from eqff.ranges import NonNegative, Positive
from eqff.units import COULOMB_CONSTANT

# universal screening function phi(x) = sum c exp(-d x), x = r/a, a = LENGTH / (Zi^EXPONENT + Zj^EXPONENT) in Å
AMPLITUDES = (0.02817, 0.28022, 0.50986, 0.18175)
DECAYS = (0.20162, 0.40290, 0.94229, 3.19980)
SCREENING_LENGTH = 0.46850
SCREENING_EXPONENT = 0.23


def zbl_pair_energy(
    lengths: Tensor, first: Tensor, second: Tensor, coulomb_constant: float = COULOMB_CONSTANT
) -> tuple[Tensor, Tensor, Tensor]:
    """The unswitched pair energy V(r) = k_e Zi Zj / r · phi(r/a) and its first two derivatives.

    Source: Ziegler, Biersack and Littmark, The Stopping and Range of Ions in Matter (1985), with the rounded
    constants that LAMMPS uses.

    Args:
        lengths: r in Å, (E,).
        first: Zi, (E,).
        second: Zj, (E,).
        coulomb_constant: k_e in eV·Å/e².

    Returns:
        V in eV, V' in eV/Å and V'' in eV/Å², each (E,).
    """
    first, second = first.to(lengths.dtype), second.to(lengths.dtype)
    screening = SCREENING_LENGTH / (first**SCREENING_EXPONENT + second**SCREENING_EXPONENT)
    prefactor = coulomb_constant * first * second / lengths
    inverse = 1.0 / lengths
    energy, slope, curvature = (torch.zeros_like(lengths) for _ in range(3))
    for amplitude, decay in zip(AMPLITUDES, DECAYS, strict=True):
        rate = decay / screening
        part = amplitude * torch.exp(-rate * lengths)
        energy = energy + part
        slope = slope - part * (rate + inverse)
        curvature = curvature + part * (rate**2 + 2 * rate * inverse + 2 * inverse**2)
    return prefactor * energy, prefactor * slope, prefactor * curvature


class ZBLRepulsion(Term):
    """E = sum over pairs of V(r) + S(r), which is zero beyond ``outer`` with its first two derivatives continuous.

    S is the switch of LAMMPS' ``pair_style zbl``: constant up to ``inner``, then a polynomial that takes value, slope
    and curvature to zero at ``outer``. For V see `zbl_pair_energy`.

    Beside a learned energy, the repulsion should end where bonds begin: with ``relative`` both radii scale with the
    pair, so that one setting fits O-H as well as I-I.

    Args:
        inner: Where the switch begins; Å, or with ``relative`` a multiple of the sum of both covalent radii.
        outer: Where it ends, likewise.
        relative: Whether the two are multiples of the sum of covalent radii [Cordero et al., Dalton Trans. 2008, 2832].
        elements: Atomic numbers covered; with ``relative`` they set how far neighbours are looked for.
        coulomb_constant: k_e in eV·Å/e²; another one only to compare with other programs.
        neighbour_list: The list that is read. The local one saves a search, and a list that is almost always empty
            would be compiled anew for every batch in which it isn't.

    Raises:
        ConfigError: Radii that aren't 0 <= inner < outer, or ``relative`` without ``elements``.
    """

    reads = ("numbers",)
    level = "atom"

    def __init__(
        self,
        inner: NonNegative,
        outer: Positive,
        relative: bool = False,
        elements: tuple[int, ...] = (),
        coulomb_constant: Positive = COULOMB_CONSTANT,
        neighbour_list: str = LOCAL,
    ):
        super().__init__()
        if not 0 <= inner < outer:
            raise ConfigError(f"ZBL needs 0 <= inner < outer, but inner is {inner} and outer is {outer}.")
        self.inner, self.outer, self.coulomb_constant = float(inner), float(outer), coulomb_constant
        self.neighbour_list = neighbour_list
        # half of what multiplies inner and outer for a pair, by element: it sums to 1 where they are in Å
        share = _covalent_radii(elements) if relative else torch.full((max(elements, default=118) + 1,), 0.5)
        self.register_buffer("radius_share", share.to(torch.get_default_dtype()), persistent=False)
        self.cutoff = self.outer * 2 * float(share.max())

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """The chosen list, as far as the widest pair of elements reaches."""
        return {self.neighbour_list: self.cutoff}

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """Each atom's half of its pair energies in eV, (N,)."""
        edges = graph.edges[self.neighbour_list]
        pair = graph.numbers[edges.receiver], graph.numbers[edges.sender]
        unit = (self.radius_share[pair[0]] + self.radius_share[pair[1]]).to(edges.lengths.dtype)
        inner, outer = self.inner * unit, self.outer * unit
        energy = zbl_pair_energy(edges.lengths, *pair, self.coulomb_constant)[0]
        at_outer = zbl_pair_energy(outer, *pair, self.coulomb_constant)
        energy = energy + _switch(edges.lengths, inner, outer, at_outer)
        energy = torch.where(edges.lengths < outer, energy, 0.0)
        # both directions of a pair are edges, and each gives its receiver half
        return {"energy": segment_sum(0.5 * energy, edges.receiver, graph.num_atoms)}


def _switch(lengths: Tensor, inner: Tensor, outer: Tensor, at_outer: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """S(r), (E,): cancels V's value, slope and curvature, given ``at_outer``, at ``outer``."""
    energy, slope, curvature = at_outer
    width = outer - inner
    cubic = (-3 * slope + width * curvature) / width**2
    quartic = (2 * slope - width * curvature) / width**3
    constant = -energy + width * slope / 2 - width**2 * curvature / 12
    beyond = (lengths - inner).clamp(min=0.0)
    return constant + cubic / 3 * beyond**3 + quartic / 4 * beyond**4


def _covalent_radii(elements: tuple[int, ...]) -> Tensor:
    from ase.data import covalent_radii

    if not elements:
        raise ConfigError("ZBL with relative=true needs the model's elements, which set how far it has to look.")
    radii = torch.zeros(max(elements) + 1, dtype=torch.float64)
    radii[list(elements)] = torch.as_tensor(covalent_radii[list(elements)])
    return radii
