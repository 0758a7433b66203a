"""Weights of one model in another one: what fits is taken over, element by element."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
from ase.data import chemical_symbols
from torch import Tensor

from eqff.errors import ConfigError
from eqff.potential import Potential
from eqff.training.finetuning.elements import nearest_known
from eqff.training.finetuning.numbered import numbered_tables, with_nearest_numbers


@dataclass(frozen=True)
class Transfer:
    """What was taken over.

    Attributes:
        taken: Names of tensors that have the values of the old model.
        fresh: Those that begin anew: not in the old model, of another shape there, or to be restarted.
        unused: Of the old model, those that have no place in the new one.
        tables: Those with rows of new elements, and the dimensions along which they are.
        nearest: New element to the known one that its rows begin as.
    """

    taken: tuple[str, ...]
    fresh: tuple[str, ...]
    unused: tuple[str, ...]
    tables: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    nearest: Mapping[int, int] = field(default_factory=dict)

    def __str__(self) -> str:
        """One line for people."""
        text = f"{len(self.taken)} tensors taken over"
        for names, what in ((self.fresh, "begin anew"), (self.unused, "of the old model not used")):
            if names:
                counts = Counter(".".join(name.split(".")[:2]) for name in names)
                text += f"; {what}: {', '.join(f'{part} ({count})' for part, count in sorted(counts.items()))}"
        if self.tables:
            pairs = ", ".join(f"{chemical_symbols[z]} as {chemical_symbols[near]}" for z, near in self.nearest.items())
            text += f"; new elements begin as the nearest known ones in {len(self.tables)} tables: {pairs}"
        return text


def take_over(new: Potential, old: Potential, restart: Sequence[str] = (), twin: Potential | None = None) -> Transfer:
    """Copies weights of ``old`` into ``new`` where names and shapes fit.

    Tables with a row for each element (or, in custom parts, for each atomic number) are copied row by row, so the new
    model may cover more elements. A trained network has never seen random rows, and what it makes of them is enormous:
    the row of a new element is that of the nearest known one. Where tables begin with values of each element (radii,
    dispersion coefficients) rather than with random numbers, the new element has its own, changed as training changed
    those of the nearest.

    Args:
        new: With fresh weights. Its reference energies are left alone.
        old: A trained model.
        restart: Patterns of names that are left alone.
        twin: Like ``new`` with other random numbers, which tells values of elements from random ones. Without it, all
            are taken to be random.

    Raises:
        ConfigError: A pattern matches nothing, or nothing of the backbone fits.
    """
    require_matches(restart, [name for name, _ in new.named_parameters()], "finetune.restart")
    theirs, again = old.state_dict(), {} if twin is None else twin.state_dict()
    nearest = nearest_known(new.elements, old.elements)
    numbered = numbered_tables(new, old) if any(z != near for z, near in nearest.items()) else ()
    taken, fresh, tables = [], [], {}
    with torch.no_grad():
        for name, tensor in new.state_dict().items():
            if name.endswith("reference.values"):
                continue
            skipped = name not in theirs or matches(name, restart)
            by_number = name in numbered and not skipped
            axes = None if skipped else (0,) if by_number else element_axes(tensor.shape, theirs[name].shape, new, old)
            (fresh if axes is None else taken).append(name)
            valued = name in again and torch.equal(tensor, again[name])
            if by_number:
                tensor.copy_(with_nearest_numbers(tensor, theirs[name].to(tensor), nearest, valued))
            elif axes is not None:
                start = tensor if valued else None
                tensor.copy_(with_nearest(theirs[name].to(tensor), axes, nearest, old.elements, start))
            if axes:
                tables[name] = axes
    if new.backbone is not None and not any(name.startswith("backbone.") for name in taken):
        raise ConfigError(
            "finetune.model: nothing of its backbone fits this model's. Leave model=... out to have the structure of "
            "the file, or train without finetune."
        )
    unused = [name for name in theirs if name not in taken and not name.endswith("reference.values")]
    added = {z: near for z, near in nearest.items() if z != near}
    return Transfer(tuple(taken), tuple(fresh), tuple(n for n in unused if n not in fresh), tables, added)


def element_axes(
    shape: Sequence[int], old_shape: Sequence[int], new: Potential, old: Potential
) -> tuple[int, ...] | None:
    """Dimensions along which a tensor has a row for each element and they grew; none if shapes are equal, None if they
    differ in another way."""
    if len(shape) != len(old_shape):
        return None
    different = tuple(d for d in range(len(shape)) if shape[d] != old_shape[d])
    grown = (len(new.elements), len(old.elements))
    return different if all((shape[d], old_shape[d]) == grown for d in different) else None


def with_nearest(
    table: Tensor, axes: Sequence[int], nearest: Mapping[int, int], known: Sequence[int], start: Tensor | None = None
) -> Tensor:
    """A trained table with rows of more elements, each that of the nearest known one.

    Args:
        table: Trained.
        axes: Dimensions along which it has a row for each element; none for no change.
        nearest: Every element to a known one, in the order of the rows.
        known: Elements of ``table``, in their order.
        start: Fresh values for all elements, if those of new ones differ from those of the nearest for a reason.
    """
    elements = list(nearest)
    for axis in axes:
        table = table.index_select(axis, table.new_tensor([list(known).index(z) for z in nearest.values()]).long())
    if start is None:
        return table
    there = start
    for axis in axes:
        there = there.index_select(axis, start.new_tensor([elements.index(z) for z in nearest.values()]).long())
    return table + (start - there)


def require_matches(patterns: Sequence[str], names: Sequence[str], place: str) -> None:
    """Raises ConfigError if a pattern matches none of the names."""
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            tops = sorted({".".join(name.split(".")[:2]) for name in names})
            raise ConfigError(
                f"{place}: '{pattern}' matches no weight; their names start with {', '.join(tops)}. A whole part is "
                f"'{tops[0] if tops else 'terms'}.*'."
            )


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns fits a name."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
