"""What happens on structures outside of what a model was trained on.

Elements that a model has no parameters for are always refused. States of total charge and multiplicity that training
had not can be computed, but are extrapolations: they are allowed, warned of, or refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from eqff.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from eqff.potential import Potential

Outside = Literal["allow", "warn", "refuse"]

ENTRY = "outside"
"""Of the ``training`` section of a model's metadata, where it has a rule of its own."""


def outside_rule(potential: Potential, asked: Outside | None) -> Outside:
    """The rule to follow: the one that is asked for, else the model's own, else "warn".

    Raises:
        ConfigError: ``asked`` is none of the three.
    """
    own = potential.metadata.training.get(ENTRY, "warn") if potential.metadata else "warn"
    rule = own if asked is None else asked
    if rule not in get_args(Outside):
        raise ConfigError(f"outside can't be {rule!r}.{did_you_mean(str(rule), get_args(Outside))}")
    return rule
