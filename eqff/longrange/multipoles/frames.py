"""Local frames of atoms, spanned by atoms next to them, in which classical force fields give multipole moments.

Definitions and names are those of Tinker, AMOEBA and OpenMM [Ponder et al., J. Phys. Chem. B 114, 2549 (2010)].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Span = Callable[[Tensor], tuple[Tensor, Tensor]]

MIRROR_X = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64).diag()
MIRROR_Y = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64).diag()
TURN_Z = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
TURN_X = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]], dtype=torch.float64)


@dataclass(frozen=True)
class Frame:
    """How atoms span a frame.

    Attributes:
        meaning: For messages.
        atoms: How many span it.
        span: From vectors to them, (M, atoms, 3), the direction of z, and of what, less its share along z, is x's;
            neither of length 1. y = z × x.
        symmetries: Under which moments must stay as they are, because the frame is not told from the turned one.
        if_alike: The same, where atoms that the frame treats alike are of one kind.
        alike: Which of its atoms those are.
        handed: Whether y is turned away from the last atom.
        onward: Whether its second atom may be bonded to the first one only.
    """

    meaning: str
    atoms: int
    span: Span
    symmetries: tuple[Tensor, ...] = (MIRROR_Y,)
    if_alike: tuple[Tensor, ...] = ()
    alike: tuple[int, ...] = ()
    handed: bool = False
    onward: bool = False

    def axes(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """x, y and z as rows, (M, 3, 3), and how far from undefined they are, (M,): sines of angles, 0 to 1.

        Args:
            vectors: To the atoms that span it, Å, (M, atoms, 3).
        """
        along, aside = self.span(vectors)
        z, margin = _unit(along), torch.minimum(_length(along), _length(aside))
        across = _unit(aside) - (_unit(aside) * z).sum(dim=1, keepdim=True) * z
        x, margin = _unit(across), torch.minimum(margin, _length(across))
        y = torch.linalg.cross(z, x)
        if self.handed:
            height = (_unit(vectors[:, -1]) * y).sum(dim=1, keepdim=True).detach()
            y, margin = torch.where(height > 0, -y, y), torch.minimum(margin, height[:, 0].abs())
        return torch.stack([x, y, z], dim=1), margin.nan_to_num(nan=0.0)


def _length(vectors: Tensor) -> Tensor:
    """At most 1, not differentiated."""
    return torch.linalg.vector_norm(vectors.detach(), dim=1).clamp(max=1)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)


def _fixed(vectors: Tensor) -> tuple[Tensor, Tensor]:
    eye = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    return eye[2].expand(len(vectors), 3), eye[0].expand(len(vectors), 3)


def _any_x(vectors: Tensor) -> tuple[Tensor, Tensor]:
    # moments do not change about z, so the Cartesian direction most across it will do
    z = _unit(vectors[:, 0])
    place = z.detach().abs().argmin(dim=1)
    return z, torch.eye(3, dtype=z.dtype, device=z.device)[place]


def _first_and_second(vectors: Tensor) -> tuple[Tensor, Tensor]:
    return _unit(vectors[:, 0]), vectors[:, 1]


def _sum_and_second(vectors: Tensor) -> tuple[Tensor, Tensor]:
    return _unit(vectors).sum(dim=1), vectors[:, 1]


def _first_and_sum(vectors: Tensor) -> tuple[Tensor, Tensor]:
    return _unit(vectors[:, 0]), _unit(vectors[:, 1:]).sum(dim=1)


FRAMES: dict[str, Frame] = {
    "none": Frame("no frame", 0, _fixed, (TURN_X, TURN_Z)),
    "z_only": Frame("z to an atom", 1, _any_x, (MIRROR_Y, TURN_Z)),
    "z_then_x": Frame("z to an atom, x towards a second one", 2, _first_and_second, onward=True),
    "z_then_x_handed": Frame(
        meaning="z to an atom, x towards a second one, y away from a third one",
        atoms=3,
        span=_first_and_second,
        symmetries=(),
        handed=True,
        onward=True,
    ),
    "bisector": Frame(
        "z between two atoms, x towards the second", 2, _sum_and_second, if_alike=(MIRROR_X,), alike=(0, 1)
    ),
    "z_bisector": Frame("z to an atom, x between two others", 3, _first_and_sum, alike=(1, 2)),
    "three_fold": Frame(
        "z between three atoms, x towards the second", 3, _sum_and_second, if_alike=(TURN_Z,), alike=(0, 1, 2)
    ),
}
"""By name."""
