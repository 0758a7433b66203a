"""Labels minus those of a cheaper method, the base: what Δ-models learn [Ramakrishnan et al., JCTC 11, 2087 (2015)].

That labels are such differences is said by their level of theory, ``PBE minus GFN1-xTB``, which goes with every frame
into the model file. Nothing with such labels is mixed with anything that has other ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import copy

import numpy as np
import torch

from eqff.data.atomic_data import AtomicData
from eqff.data.energy_rows import level_of_theory
from eqff.errors import DataError

FIELDS = ("energy", "forces", "stress", "virial")
"""The energy and its derivatives, of which differences are taken; all other labels stay as they are."""

_MINUS = re.compile(r"(?:(.*?) )?minus (.+)")


def difference_level(level: str, base: str) -> str:
    """The level of theory of labels at ``level`` (empty where none is declared) minus those of the method ``base``."""
    return f"{level} minus {base}".strip()


def base_of(level: str) -> str | None:
    """The base that a level of theory says was subtracted; None where labels are whole."""
    found = _MINUS.fullmatch(level)
    return found[2] if found else None


def whole_level(level: str) -> str:
    """The level of theory after the base has been added again; empty where none was declared."""
    found = _MINUS.fullmatch(level)
    return (found[1] or "") if found else level


def require_one_base(
    levels: Iterable[str],
    what: str,
    remedy: str = "Subtract the same base everywhere (python -m eqff.delta), or nowhere",
) -> None:
    """Checks that labels are all whole, or all differences to one base.

    Args:
        levels: Levels of theory.
        what: That has them, for the message.
        remedy: What to do, ending without a full stop.

    Raises:
        DataError: Names the bases.
    """
    bases = {base_of(level) for level in levels}
    if len(bases) > 1:
        shown = ", ".join(sorted("whole labels" if base is None else f"labels minus {base}" for base in bases))
        raise DataError(f"{what}: {shown} are not the same quantity. {remedy}; see docs/delta_learning.md.")


def difference(frame: AtomicData, base: Mapping[str, np.ndarray], name: str) -> AtomicData:
    """A structure with its labels minus those of the base, in a copy.

    Args:
        frame: With whole labels.
        base: Labels of the base by field; there is one for every label in `FIELDS` that the frame has.
        name: Of the base.

    Raises:
        DataError: The labels are differences already, or there is none to take one of.
    """
    level = level_of_theory(frame)
    if base_of(level) is not None:
        raise DataError(f"{frame.place}: its labels are differences already, at the level of theory '{level}'.")
    known = [field for field in FIELDS if frame.has(field)]
    if not known:
        raise DataError(f"{frame.place}: there is no energy, force, stress or virial to subtract {name} from.")
    moved = copy(frame)
    for field in known:
        moved[field] = frame[field] - torch.as_tensor(base[field], dtype=torch.float64).reshape(frame[field].shape)
    moved.level_of_theory = difference_level(level, name)
    return moved
