"""Multipole moments of classical force fields: given numbers in local frames, which turn with the atoms around."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError, ModelError
from eqff.heads.formal_charges import require_total_charge
from eqff.longrange.multipoles.frames import FRAMES, Frame
from eqff.longrange.multipoles.moments import unpack_symmetric
from eqff.parts import Fields, Head
from eqff.validation import check_arguments

FrameName = Literal["none", "z_only", "z_then_x", "z_then_x_handed", "bisector", "z_bisector", "three_fold"]

_LEAST = 1e-3
"""Sine of the smallest angle that spans a frame: forces contain its inverse."""

_FROM_TINKER = (0, 1, 3, 2, 4, 5)  # xx, xy, yy, xz, yz, zz in the order xx, xy, xz, yy, yz, zz


@dataclass(frozen=True)
class LocalMoments:
    """One row of a table.

    Attributes:
        charge: e.
        dipole: x, y, z in the frame, e·Å.
        quadrupole: xx, xy, yy, xz, yz, zz in the frame, the order of Tinker's files; e·Å², Buckingham: three times what
            Tinker's, OpenMM's and AMOEBA's files hold.
        frame: Which (`eqff.longrange.multipoles.frames.FRAMES`).
    """

    charge: float
    dipole: tuple[float, float, float] = (0.0, 0.0, 0.0)
    quadrupole: tuple[float, float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    frame: FrameName = "none"
    axes: ClassVar[tuple[Any, ...]] = ()

    @classmethod
    def read(cls, row: Mapping[str, Any], place: str) -> Self:
        """From a config.

        Raises:
            ConfigError: Unknown or missing names, wrong types, a quadrupole with a trace, a wrong number of axes, or
                moments that their frame does not fix.
        """
        check_arguments(cls, row, place)
        site = cls(**{name: tuple(value) if name in _LISTS else value for name, value in row.items()})
        site._check(place)
        return site

    def tensors(self) -> tuple[Tensor, Tensor]:
        """The dipole (3,) and the quadrupole (3, 3), float64."""
        dipole, six = (torch.tensor(values, dtype=torch.float64) for values in (self.dipole, self.quadrupole))
        return dipole, unpack_symmetric(six[None, list(_FROM_TINKER)])[0]

    @property
    def definition(self) -> Frame:
        """Its frame."""
        return FRAMES[self.frame]

    def _check(self, place: str) -> None:
        frame, (dipole, quadrupole) = self.definition, self.tensors()
        if len(self.axes) != frame.atoms:
            raise ConfigError(
                f"{place}: the frame {self.frame} ({frame.meaning}) takes {frame.atoms} axes, not {len(self.axes)}."
            )
        told_apart = [axis for index, axis in enumerate(self.axes) if index not in frame.alike]
        if not frame.onward and any(self.axes.count(axis) > 1 for axis in told_apart):
            raise ConfigError(
                f"{place}: the frame {self.frame} ({frame.meaning}) tells its axes apart, but {list(self.axes)} are "
                "alike. Write them with their bonds, as 'C(H,H,H,O)', or take another frame."
            )
        trace, size = float(quadrupole.trace()), float(quadrupole.abs().max())
        if abs(trace) > 1e-2 * size:
            raise ConfigError(f"{place}: the quadrupole has the trace {trace:.4g} e·Å²; it must be traceless.")
        alike = len({self.axes[place] for place in frame.alike}) < len(frame.alike)
        for turn in frame.symmetries + (frame.if_alike if alike else ()):
            change = max(
                float((turn @ dipole - dipole).abs().max()),
                float((turn @ quadrupole @ turn.T - quadrupole).abs().max()) - abs(trace),
            )
            if change > 1e-6 + 1e-3 * max(size, float(dipole.abs().max())):
                raise ConfigError(
                    f"{place}: the frame {self.frame} ({frame.meaning}"
                    f"{', of atoms that are alike' if alike else ''}) does not fix all of these moments: by "
                    "symmetry some components must vanish or be equal. Correct them, or take a frame of more atoms "
                    "(none: charge alone; z_only: along z; z_then_x: no y, xy, yz; z_then_x_handed: any)."
                )


_LISTS = ("dipole", "quadrupole", "axes")


@dataclass(frozen=True)
class PlacedMoments:
    """Atoms that one row of the table stands for, and what spans their frames.

    Attributes:
        row: The row.
        atoms: (M,) int64.
        vectors: To the atoms that span the frames, Å, float64, (M, K, 3).
    """

    row: LocalMoments
    atoms: Tensor
    vectors: Tensor


class FramedMultipoles(Head):
    """Charges, dipoles and quadrupoles of a table, turned from local frames into the laboratory's.

    As frames follow the atoms that span them, forces contain what Tinker's programs add as torques.

    Args:
        require_total: Whether a structure whose charges do not add up to its total charge is refused.
    """

    reads = ("numbers", "positions", "total_charge")
    writes = ("charges", "atomic_dipoles", "atomic_quadrupoles")
    compiles = False  # atoms are selected by value

    def __init__(self, require_total: bool = True):
        super().__init__()
        self.require_total = require_total

    @abstractmethod
    def placed(self, graph: AtomicGraph) -> Iterator[PlacedMoments]:
        """The rows of the table and their atoms, every atom of the batch once."""

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """``charges`` in e, ``atomic_dipoles`` in e·Å and ``atomic_quadrupoles`` in e·Å².

        Raises:
            ModelError: An atom that the table has no row for or whose frame is not defined, or charges that don't add
                up to a structure's total charge.
        """
        parts = list(self.placed(graph))
        turned = [_turned(part, graph) for part in parts]
        order = torch.argsort(torch.cat([part.atoms for part in parts]))
        charges, dipoles, quadrupoles = (
            torch.cat(values)[order].to(graph.positions.dtype) for values in zip(*turned, strict=True)
        )
        if self.require_total:
            require_total_charge(graph, charges, "charges of the table")
        return {"charges": charges, "atomic_dipoles": dipoles, "atomic_quadrupoles": quadrupoles}


def _turned(part: PlacedMoments, graph: AtomicGraph) -> tuple[Tensor, Tensor, Tensor]:
    axes, margin = part.row.definition.axes(part.vectors)
    if bool((margin < _LEAST).any()):
        worst = int(margin.argmin())
        atom = int(part.atoms[worst])
        structure = int(graph.batch[atom])
        raise ModelError(
            f"The local frame of atom {atom - int((graph.batch < structure).sum())} (Z={int(graph.numbers[atom])}) of "
            f"structure {structure} of the batch is not defined: {part.row.definition.meaning}, but these atoms are in "
            f"one line or plane (sine {float(margin[worst]):.1e}). Give such atoms another frame (z_only for linear "
            "molecules), or correct the geometry."
        )
    dipole, quadrupole = (moment.to(axes.device) for moment in part.row.tensors())
    charges = torch.full_like(margin, part.row.charge)
    return charges, dipole @ axes, axes.transpose(1, 2) @ quadrupole @ axes
