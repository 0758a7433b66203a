"""Weights of one model in another one: what fits is taken over, element by element."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from eqff.errors import ConfigError
from eqff.potential import Potential


@dataclass(frozen=True)
class Transfer:
    """What was taken over.

    Attributes:
        taken: Names of tensors that have the values of the old model.
        fresh: Those that begin anew: not in the old model, of another shape there, or to be restarted.
        unused: Of the old model, those that have no place in the new one.
    """

    taken: tuple[str, ...]
    fresh: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        """One line for people."""
        text = f"{len(self.taken)} tensors taken over"
        for names, what in ((self.fresh, "begin anew"), (self.unused, "of the old model not used")):
            if names:
                counts = Counter(".".join(name.split(".")[:2]) for name in names)
                text += f"; {what}: {', '.join(f'{part} ({count})' for part, count in sorted(counts.items()))}"
        return text


def take_over(new: Potential, old: Potential, restart: Sequence[str] = ()) -> Transfer:
    """Copies weights of ``old`` into ``new`` where names and shapes fit.

    Tables with a row for each element are copied row by row, so the new model may cover more elements; rows of new
    elements keep the values that they have.

    Args:
        new: With fresh weights. Its reference energies are left alone.
        old: A trained model.
        restart: Patterns of names that are left alone.

    Raises:
        ConfigError: A pattern matches nothing, or nothing of the backbone fits.
    """
    require_matches(restart, [name for name, _ in new.named_parameters()], "finetune.restart")
    theirs = old.state_dict()
    taken, fresh = [], []
    with torch.no_grad():
        for name, tensor in new.state_dict().items():
            if name.endswith("reference.values"):
                continue
            skipped = name not in theirs or _matches(name, restart)
            fits = not skipped and _copy(tensor, theirs[name], new.elements, old.elements)
            (taken if fits else fresh).append(name)
    if new.backbone is not None and not any(name.startswith("backbone.") for name in taken):
        raise ConfigError(
            "finetune.model: nothing of its backbone fits this model's. Leave model=... out to have the structure of "
            "the file, or train without finetune."
        )
    unused = [name for name in theirs if name not in taken and not name.endswith("reference.values")]
    return Transfer(tuple(taken), tuple(fresh), tuple(name for name in unused if name not in fresh))


def freeze(potential: Potential, patterns: Sequence[str]) -> int:
    """Takes parameters whose names match out of training; returns how many numbers that are.

    Raises:
        ConfigError: A pattern matches nothing, or nothing is left to train.
    """
    named = list(potential.named_parameters())
    require_matches(patterns, [name for name, _ in named], "finetune.freeze")
    frozen = [parameter.requires_grad_(False) for name, parameter in named if _matches(name, patterns)]
    if named and len(frozen) == len(named):
        raise ConfigError("finetune.freeze: all weights are frozen, so there is nothing to train.")
    return sum(parameter.numel() for parameter in frozen)


def require_matches(patterns: Sequence[str], names: Sequence[str], place: str) -> None:
    """Raises ConfigError if a pattern matches none of the names."""
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            tops = sorted({".".join(name.split(".")[:2]) for name in names})
            raise ConfigError(
                f"{place}: '{pattern}' matches no weight; their names start with {', '.join(tops)}. A whole part is "
                f"'{tops[0] if tops else 'terms'}.*'."
            )


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _copy(target: Tensor, source: Tensor, elements: Sequence[int], known: Sequence[int]) -> bool:
    """Copies if shapes are equal, or differ by the number of elements along one dimension; says whether it did."""
    if target.shape == source.shape:
        target.copy_(source)
        return True
    if target.ndim != source.ndim:
        return False
    different = [d for d in range(target.ndim) if target.shape[d] != source.shape[d]]
    if len(different) != 1:
        return False
    (axis,) = different
    if (target.shape[axis], source.shape[axis]) != (len(elements), len(known)):
        return False
    rows = torch.tensor([list(elements).index(number) for number in known])
    target.index_copy_(axis, rows, source.to(target.dtype))
    return True
