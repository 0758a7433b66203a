"""Which part holds which share of the energy, so that none is counted twice and none of an external field is missed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from eqff.data import fields as table
from eqff.errors import ModelError
from eqff.parts import Exchange, Head, Part, Term

MOMENT_UNITS = ("e", "e·Å")


def coulomb_energy(charges: str) -> str:
    """The contribution that charges have by each other; ``charges`` is the name of their field."""
    return f"the Coulomb energy of {charges}"


def field_energy(moments: str) -> str:
    """The contribution that charges or dipoles of a field of that name have by an external electric field."""
    return f"the energy of {moments} in an external field"


def external_energy(moments: str) -> str:
    """The contribution that charges or dipoles of a field of that name have by external point charges."""
    return f"the energy of {moments} among external charges"


def check_contributions(heads: Mapping[str, Head], terms: Mapping[str, Term]) -> None:
    """Checks that no contribution to the energy is held by two parts.

    Args:
        heads: By name. What they hold counts where a term adds the energy that they write.
        terms: By name.

    Raises:
        ModelError: Names the contribution and both parts.
    """
    holders: dict[str, str] = {}
    for place, part in _adding(heads, terms):
        for contribution in part.holds:
            if contribution in holders:
                raise ModelError(
                    f"'{holders[contribution]}' and '{place}' both hold {contribution}, so it would be counted twice. "
                    "Leave one of them out (set it to null), or have it leave these moments out."
                )
            holders[contribution] = place


def moments_without(
    contribution: Callable[[str], str], heads: Mapping[str, Head], terms: Mapping[str, Term]
) -> tuple[str, ...]:
    """Fields of charges and dipoles that enter the energy, though no part holds a contribution of theirs.

    Args:
        contribution: `field_energy` or `external_energy`.
        heads: By name.
        terms: By name.
    """
    held = {contribution for _, part in _adding(heads, terms) for contribution in part.holds}
    read = dict.fromkeys(name for term in terms.values() for name in term.reads if _is_moment(name))
    return tuple(name for name in read if contribution(name) not in held)


def reaches_energy(field: str, parts: Iterable[Part]) -> bool:
    """Whether some term reads a field, or what parts before it made of that.

    Args:
        field: Its name.
        parts: In the order in which they run.
    """
    reached = {field}
    for part in parts:
        if reached.isdisjoint(part.reads):
            continue
        if isinstance(part, Term):
            return True
        reached.update(part.writes)
        if isinstance(part, Exchange):
            reached.update(("features", "pass_scalars", *(f"pass_{name}" for name in part.writes)))
    return False


def _is_moment(name: str) -> bool:
    row = table.FIELDS.get(name)
    return row is not None and row.level == "atom" and row.unit in MOMENT_UNITS


def _adding(heads: Mapping[str, Head], terms: Mapping[str, Term]) -> Iterator[tuple[str, Part]]:
    """Terms, and heads whose energy a term reads, with their places."""
    read = {name for term in terms.values() for name in term.reads}
    for name, head in heads.items():
        if any(field in read and table.field(field).unit == "eV" for field in head.writes):
            yield f"heads.{name}", head
    for name, term in terms.items():
        yield f"terms.{name}", term
