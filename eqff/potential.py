"""The composition: a backbone, exchanges between its passes, heads, and named energy terms make one potential."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from eqff.bounds import tell_bounds
from eqff.compilation.prediction import CompiledPrediction
from eqff.contributions import (
    check_contributions,
    external_energy,
    field_energy,
    moments_without,
    reaches_energy,
)
from eqff.data import fields as table
from eqff.data.graph import AtomicGraph
from eqff.derivatives import differentiate
from eqff.errors import ModelError
from eqff.field_check import check_fields
from eqff.fragments.fragments import Fragments, require_of_atoms
from eqff.parts import Backbone, Exchange, Head, Part, Term
from eqff.passes import features_of
from eqff.response.external_charges import READ, ExternalGuard
from eqff.response.external_field import FieldGuard
from eqff.total_energy import of_heads, total_energy

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from eqff.checkpoints.metadata import ModelMetadata
    from eqff.interfaces.ase import EqffCalculator


class Potential(nn.Module):
    """A model: total energy = the sum of its named terms, with derivatives from one place.

    Every term's energy and every field that a part writes is in the result, so nothing is added up unseen.

    Args:
        backbone: Structure to features; None for a potential of terms that need no features.
        terms: Energy terms by name, summed.
        heads: Property heads by name, run in order before the terms; those that read what terms write, after them.
        exchanges: Run in order after each pass of the backbone.
        elements: Atomic numbers that the model covers.
        fragments: Takes structures apart for backbone, exchanges and heads; None for whole structures.

    Raises:
        ModelError: A part reads a field that nothing before it writes, or two parts hold one contribution to the
            energy.

    Attributes:
        metadata: What its model file says, for a model that was loaded from one.
        field_guard: Looks whether the whole energy answers an external field.
        external_guard: The same for external charges.
        uncertainties: Names of fields that say how far the prediction can be trusted; see `eqff.uncertainty`.
    """

    metadata: ModelMetadata | None = None
    uncertainties: tuple[str, ...] = ()

    def __init__(
        self,
        backbone: Backbone | None,
        terms: Mapping[str, Term],
        heads: Mapping[str, Head] | None = None,
        exchanges: Mapping[str, Exchange] | None = None,
        *,
        elements: tuple[int, ...],
        fragments: Fragments | None = None,
    ):
        super().__init__()
        if not terms:
            raise ModelError("A potential needs at least one energy term; give one under model.terms.")
        self.elements = tuple(sorted(elements))
        self.fragments = fragments
        self.backbone = backbone
        self.exchanges = nn.ModuleDict(exchanges or {})
        self.heads = nn.ModuleDict(heads or {})
        self.terms = nn.ModuleDict(terms)
        known = torch.zeros(max(self.elements) + 1, dtype=torch.bool)
        known[list(self.elements)] = True
        self.register_buffer("known_elements", known, persistent=False)
        self._compiled: CompiledPrediction | None = None
        self._differentiates = any(head.differentiates for head in self.heads.values())
        check_fields(self.ordered_parts())
        if fragments is not None:
            require_of_atoms(self.heads, self.exchanges)
        check_contributions(self.heads, self.terms)
        tell_bounds(self.ordered_parts().values())
        self.field_guard = FieldGuard(self.reads_field, moments_without(field_energy, self.heads, self.terms))
        felt = reaches_energy(READ, self.ordered_parts().values())
        self.external_guard = ExternalGuard(felt, moments_without(external_energy, self.heads, self.terms))

    def ordered_parts(self) -> dict[str, Part]:
        """All parts by their place in the config, in the order in which they run."""
        parts: dict[str, Part] = {} if self.fragments is None else {"fragments": self.fragments}
        parts |= {} if self.backbone is None else {"backbone": self.backbone}
        heads = {f"heads.{name}": head for name, head in self.heads.items()}
        parts |= {f"exchanges.{name}": exchange for name, exchange in self.exchanges.items()}
        parts |= {place: head for place, head in heads.items() if not head.after_terms}
        parts |= {f"terms.{name}": term for name, term in self.terms.items()}
        return parts | {place: head for place, head in heads.items() if head.after_terms}

    @property
    def reads_field(self) -> bool:
        """Whether the energy follows from an external electric field."""
        return reaches_energy("electric_field", self.ordered_parts().values())

    @property
    def neighbour_lists(self) -> dict[str, float]:
        """Every neighbour list that some part needs, with the largest cutoff asked for, in Å."""
        lists: dict[str, float] = {}
        for part in self.ordered_parts().values():
            for name, cutoff in part.neighbour_lists.items():
                lists[name] = max(cutoff, lists.get(name, 0.0))
        return lists

    @property
    def dtype(self) -> torch.dtype:
        """Floating dtype of the weights, in which features are computed; energies are summed in float64."""
        return next((p.dtype for p in self.parameters()), torch.get_default_dtype())

    @property
    def predicts(self) -> tuple[str, ...]:
        """Names of the labels this model can be trained on or asked for."""
        written = {name for part in self.ordered_parts().values() for name in part.writes}
        return ("energy", "forces", "stress", "virial") + tuple(n for n in table.names("label") if n in written)

    @property
    def per_pass(self) -> dict[str, int]:
        """Labels that exchanges write, as ``pass_NAME`` (values after every pass), and the number of passes."""
        names = [name for exchange in self.exchanges.values() for name in exchange.writes]
        labels = table.names("label")
        return {f"{table.PER_PASS}{name}": self.backbone.num_passes for name in names if name in labels}

    def energy(self, graph: AtomicGraph) -> tuple[Tensor, dict[str, Tensor]]:
        """Total energies (B,) in eV, float64, and all fields, among them ``energy_TERM`` (B,) of each term."""
        if self._differentiates and not graph.positions.requires_grad:
            return self._energy_under_gradients(graph)
        if self.fragments is not None:
            return self._energy_of_fragments(graph)
        return total_energy(graph, features_of(graph, self.backbone, self.exchanges.values()), self.heads, self.terms)

    def forward(
        self, graph: AtomicGraph, *, forces: bool = True, stress: bool = False, create_graph: bool | None = None
    ) -> dict[str, Tensor]:
        """The prediction: every label, field and term energy under its name.

        Args:
            graph: The batch; only elements of ``self.elements``.
            forces: Whether to differentiate at all.
            stress: Whether to give virial and stress too.
            create_graph: Whether forces can be differentiated again; by default while training.

        Raises:
            ModelError: The batch holds an element that the model does not cover, or a structure in an external field or
                among external charges that no energy of it follows from.
        """
        self.require_elements(graph.numbers)
        self.field_guard.check(graph)
        self.external_guard.check(graph)
        if not forces:
            energy, fields = self.energy(graph)
            return fields | {"energy": energy}
        create_graph = self.training if create_graph is None else create_graph
        if create_graph and self._compiled:
            return self._compiled(graph, stress)
        return differentiate(self.energy, graph, stress=stress, create_graph=create_graph)

    def compile_training_step(self, compiler: str = "inductor", required: bool = True) -> None:
        """From now on, predictions that are differentiated again run compiled, both derivatives included.

        The first of them is also computed plainly, and a ModelError is raised if the two don't agree, or can't be
        compiled. Heads and terms that can't be, or for open structures only, run within it as they are.

        Args:
            compiler: One of `eqff.compilation.code.COMPILERS`.
            required: Whether it is an error if that can't be; else one log line gives the reason, and everything runs
                uncompiled.

        Raises:
            ModelError: Some parts can't be compiled, and it is required.
        """
        plain = [
            f"model.{place}"
            for place, part in self.ordered_parts().items()
            if not (part.compiles or part.compiles_open or part.runs_inside)
        ]
        reason = (
            f"{' and '.join(plain)} can't be compiled: derivatives are taken inside, or it is neither head nor term "
            "and sizes follow from values."
        )
        if plain and required:
            raise ModelError(f"{reason} Train with training.compile=false.")
        if plain:
            log.info("Training steps run uncompiled: %s", reason)
            return
        self._compiled = CompiledPrediction(self, compiler, required)

    def calculator(self, **settings: Any) -> EqffCalculator:
        """An ASE calculator with this model; for its settings see `eqff.interfaces.ase.EqffCalculator`."""
        from eqff.interfaces.ase import EqffCalculator

        return EqffCalculator(self, **settings)

    def require_elements(self, numbers: Tensor) -> None:
        """Raises ModelError naming every element among ``numbers`` (N,) that the model was not made for."""
        inside = numbers < self.known_elements.shape[0]
        if bool((inside & self.known_elements[numbers.clamp(max=self.known_elements.shape[0] - 1)]).all()):
            return
        from ase.data import chemical_symbols

        unknown = sorted(set(numbers.tolist()) - set(self.elements))
        raise ModelError(
            f"The model does not know {', '.join(f'{chemical_symbols[z]} (Z={z})' for z in unknown)}; it was made for "
            f"{', '.join(chemical_symbols[z] for z in self.elements)}. Leave such structures out, or train on data "
            "that has these elements."
        )

    def _energy_under_gradients(self, graph: AtomicGraph) -> tuple[Tensor, dict[str, Tensor]]:
        """The energy where a head takes derivatives by positions that carry no gradients yet."""
        wanted = torch.is_grad_enabled()
        with torch.enable_grad():
            total, fields = self.energy(graph.deformed(graph.positions.detach().requires_grad_()))
        return (total, fields) if wanted else (total.detach(), {name: value.detach() for name, value in fields.items()})

    def _energy_of_fragments(self, graph: AtomicGraph) -> tuple[Tensor, dict[str, Tensor]]:
        """The same, with features and what heads read from them of each fragment alone."""
        before = {name: head for name, head in self.heads.items() if not head.after_terms}
        after = {name: head for name, head in self.heads.items() if head.after_terms}
        readers = [*before.values(), *self.exchanges.values(), *([self.backbone] if self.backbone else [])]
        lists = {name for part in readers for name in part.neighbour_lists}
        division = self.fragments.divide(graph, lists)
        features = features_of(division.apart, self.backbone, self.exchanges.values())
        found = of_heads(division.apart, features, before, after_terms=False)
        fields = division.together(found) | {"molecules": division.whole.fragment}
        return total_energy(division.whole, fields, after, self.terms)
