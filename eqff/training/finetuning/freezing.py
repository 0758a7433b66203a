"""Weights that are not trained; rows of new elements in them are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eqff.errors import ConfigError
from eqff.potential import Potential
from eqff.training.finetuning.weights import matches, require_matches


class HeldRows:
    """Keeps rows of known elements of a table as they are, bit by bit, while an optimizer moves those of new ones.

    Their gradient is zero, so that they count in no norm and in no momentum; and what a step did to them all the same
    (weight decay) is taken back.

    Args:
        parameter: The table.
        axes: Its dimensions with a row for each element.
        new: Indices of the rows that move.
    """

    def __init__(self, parameter: nn.Parameter, axes: Sequence[int], new: Sequence[int]):
        self.parameter = parameter
        moves = torch.zeros(parameter.shape, dtype=torch.bool)
        for axis in axes:
            moves.index_fill_(axis, torch.tensor(list(new)), True)
        self.moves = moves
        self._before: Tensor | None = None
        parameter.register_hook(lambda gradient: torch.where(self.moves.to(gradient.device), gradient, 0.0))

    @property
    def count(self) -> int:
        """Numbers that are kept."""
        return int((~self.moves).sum())

    def watch(self, optimizer: torch.optim.Optimizer) -> None:
        """From now on the optimizer's steps leave the rows alone."""
        optimizer.register_step_pre_hook(lambda *_: self._remember())
        optimizer.register_step_post_hook(lambda *_: self._restore())

    def _remember(self) -> None:
        self._before = self.parameter.detach().clone()

    @torch.no_grad()
    def _restore(self) -> None:
        self.parameter.copy_(torch.where(self.moves.to(self.parameter.device), self.parameter, self._before))
        self._before = None


@dataclass(frozen=True)
class Frozen:
    """What is not trained.

    Attributes:
        count: Numbers.
        rows: Tables of which only rows of new elements are trained.
    """

    count: int = 0
    rows: tuple[HeldRows, ...] = ()

    def __str__(self) -> str:
        """A line for people; nothing if nothing is frozen."""
        text = f"{self.count:,} weights frozen" if self.count else ""
        if self.rows:
            text += f"; rows of new elements are trained in {len(self.rows)} frozen tables"
        return text

    def watch(self, optimizer: torch.optim.Optimizer) -> None:
        """From now on the optimizer's steps leave the frozen rows alone."""
        for rows in self.rows:
            rows.watch(optimizer)


def freeze(
    potential: Potential,
    patterns: Sequence[str],
    tables: Mapping[str, Sequence[int]] | None = None,
    new: Sequence[int] = (),
) -> Frozen:
    """Takes parameters whose names match out of training, except for rows of new elements, which know nothing yet.

    Args:
        potential: The model.
        patterns: Of names.
        tables: Names of those with rows of new elements, and the dimensions along which they are.
        new: Atomic numbers of the new elements.

    Raises:
        ConfigError: A pattern matches nothing, or nothing is left to train.
    """
    named, tables = dict(potential.named_parameters()), tables or {}
    require_matches(patterns, list(named), "finetune.freeze")
    chosen = [name for name in named if matches(name, patterns)]
    held = [_held(named[name], tables[name], potential.elements, new) for name in chosen if name in tables]
    if named and len(chosen) == len(named) and not held:
        raise ConfigError(
            "finetune.freeze: all weights are frozen, and no table has rows of new elements, so there is nothing to "
            "train."
        )
    whole = [named[name].requires_grad_(False) for name in chosen if name not in tables]
    return Frozen(sum(p.numel() for p in whole) + sum(rows.count for rows in held), tuple(held))


def _held(table: nn.Parameter, axes: Sequence[int], elements: Sequence[int], new: Sequence[int]) -> HeldRows:
    """Rows are by place among the elements; where there are more, from 0 on, by atomic number."""
    by_element = table.shape[axes[0]] == len(elements)
    return HeldRows(table, axes, [list(elements).index(number) for number in new] if by_element else new)
