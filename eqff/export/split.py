"""Which parts of a model are compiled, and which run beside the compiled ones as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.errors import ModelError
from eqff.parts import Head, Term
from eqff.potential import Potential
from eqff.total_energy import total_energy


@dataclass(frozen=True)
class Split:
    """A model in two: what is compiled whole, and what follows it.

    Attributes:
        compiled: Backbone, exchanges, and heads and terms that compile and read nothing that the others write.
        heads: The other heads, by name.
        terms: The other terms, by name.
        handed: Fields that these read from the compiled ones.
    """

    compiled: Potential
    heads: dict[str, Head]
    terms: dict[str, Term]
    handed: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether everything is compiled."""
        return not self.heads and not self.terms

    @property
    def places(self) -> tuple[str, ...]:
        """What is not compiled, by place in the config."""
        return tuple([f"heads.{name}" for name in self.heads] + [f"terms.{name}" for name in self.terms])

    def rest(self, graph: AtomicGraph, handed: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Energy (B,) and fields of what is not compiled, as `Potential.energy` has them."""
        return total_energy(graph, handed, self.heads, self.terms)


def split(potential: Potential, beside: Mapping[str, Term] | None = None) -> Split:
    """Divides a model; long-range sums, whose sizes follow from the geometry, are what is not compiled.

    Args:
        potential: The model.
        beside: Terms that are added to it and not compiled, as corrections.

    Raises:
        ModelError: A part can be in neither half, or no energy term compiles.
    """
    heads, terms = _uncompiled(potential)
    kept_terms = {name: term for name, term in potential.terms.items() if name not in terms}
    if not kept_terms:
        raise ModelError(
            f"None of the model's energy terms ({', '.join(potential.terms)}) can be compiled: their sizes follow from "
            "the geometry. Use the model file itself."
        )
    compiled = Potential(
        potential.backbone,
        kept_terms,
        {name: head for name, head in potential.heads.items() if name not in heads},
        potential.exchanges,
        elements=potential.elements,
    )
    terms |= dict(beside or {})
    written = {name for part in compiled.ordered_parts().values() for name in part.writes}
    written |= {f"pass_{name}" for exchange in potential.exchanges.values() for name in exchange.writes}
    written |= {f"energy_{name}" for name in kept_terms}
    read = {name for part in (*heads.values(), *terms.values()) for name in part.reads}
    return Split(compiled.eval(), heads, terms, tuple(sorted(read & written)))


def _uncompiled(potential: Potential) -> tuple[dict[str, Head], dict[str, Term]]:
    heads: dict[str, Head] = {}
    terms: dict[str, Term] = {}
    written: set[str] = set()
    for place, part in potential.ordered_parts().items():
        group, _, name = place.partition(".")
        if part.compiles and not written & set(part.reads):
            continue
        if group not in ("heads", "terms"):
            raise ModelError(f"model.{place} can't be compiled, and the parts after it need it. Use the model file.")
        if group == "heads" and potential.heads[name].differentiates:
            raise ModelError(
                f"model.{place} takes derivatives of the features by positions, which compiled code does not give. "
                "Use the model file, or export a model without it."
            )
        written |= set(part.writes)
        if group == "heads":
            heads[name] = potential.heads[name]
        else:
            terms[name] = potential.terms[name]
            written.add(f"energy_{name}")
    return heads, terms
