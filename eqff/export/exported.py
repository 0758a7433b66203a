"""An exported model in memory: it is used as any other potential, and runs machine code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from eqff.corrections import corrected, lacking_corrections
from eqff.data.flat import pack
from eqff.data.graph import AtomicGraph
from eqff.derivatives import require_derivatives
from eqff.errors import ModelError
from eqff.export import operations
from eqff.export.program import Signature, named, no_cotangents
from eqff.export.split import Split, split
from eqff.parts import Term
from eqff.potential import Potential

Compiled = Callable[[list[Tensor]], Sequence[Tensor]]
"""Machine code: tensors in, tensors out."""


class ExportedPotential(Potential):
    """A model of which backbone, derivatives and all that compiles are machine code; for one structure at a time.

    Parts that do not compile (long-range sums) run beside. Their derivatives by what the compiled parts hand them go
    back through the compiled derivative. What it can't take (batches, structures without any neighbour), the parts
    themselves compute, with the same results.

    Args:
        potential: The model that was exported.
        names: Of what goes into the code and comes out.
        derivatives: Forces and virial, see `eqff.export.program.DerivativeFunction`.
        energy: Energy and fields; None where nothing is handed on.
        beside: Terms that are added to the model and not compiled.
        called: Schemas of eqff's operations that the code calls by name.
    """

    def __init__(
        self,
        potential: Potential,
        names: Signature,
        derivatives: Compiled,
        energy: Compiled | None,
        beside: Mapping[str, Term] | None = None,
        called: Sequence[str] = (),
    ):
        terms = {**potential.terms, **(beside or {})}
        super().__init__(potential.backbone, terms, potential.heads, potential.exchanges, elements=potential.elements)
        self.metadata = potential.metadata
        self.names, self.derivatives, self.compiled_energy = names, derivatives, energy
        self.exported_dtype = potential.dtype
        self._known: tuple[Tensor | None, Tensor | None] = None, None
        self._split = [split(potential, beside)]  # in a list: its parts are registered already
        self._made_of = [potential], dict(beside or {})
        self.called = tuple(called)
        self._tell_operations()
        self.eval()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._tell_operations()

    def _tell_operations(self) -> None:
        if self.called:  # in every process anew
            operations.tell_constants(self._parts.compiled)

    def forward(
        self, graph: AtomicGraph, *, forces: bool = True, stress: bool = False, create_graph: bool | None = None
    ) -> dict[str, Tensor]:
        """As `Potential.forward`, without features.

        Raises:
            ModelError: An element that the model does not cover, or a field that nothing reads; forces that have to be
                differentiated again; another precision or device than it was exported for.
        """
        numbers, field = self._known  # along a trajectory they are; tensors of graphs are never edited
        if graph.numbers is not numbers or graph.electric_field is not field:
            self.require_elements(graph.numbers)
            self.field_guard.check(graph)
            self._known = graph.numbers, graph.electric_field
        if self.training if create_graph is None else create_graph:
            raise ModelError("An exported model can't be trained: its forces have no derivatives. Take the model file.")
        self._require_own_kind(graph.positions)
        if not self._takes(graph):
            return super().forward(graph, forces=forces, stress=stress, create_graph=False)
        whole = self._parts.whole and self.compiled_energy is None  # code that hands fields on takes their cotangents
        prediction = self._whole(graph) if whole else self._beside(graph, stress)
        return _with_stress(prediction, graph) if stress else prediction

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ExportedPotential:
        # refused before any weight has changed: others go on using the same model
        self._require_own_kind(fn(torch.empty(0, dtype=self.exported_dtype)))
        return super()._apply(fn, recurse)

    def _require_own_kind(self, numbers: Tensor) -> None:
        if numbers.dtype != self.exported_dtype or numbers.device.type != "cpu":
            raise ModelError(
                f"The model was exported for {self.exported_dtype} on the CPU, not for {numbers.dtype} on "
                f"{numbers.device.type}. Export it with dtype=..., or take the model file."
            )

    def _takes(self, graph: AtomicGraph) -> bool:
        """Whether compiled code can compute this."""
        one = graph.num_structures == 1 and graph.external is None
        return one and all(graph.edges[name].sender.shape[0] for name in self.names.lists)

    def added(self, terms: Mapping[str, Term]) -> ExportedPotential:
        """The same with more terms, which are not compiled.

        Raises:
            ModelError: They read fields that the compiled parts were not asked to hand on.
        """
        (potential,), beside = self._made_of
        beside = {**beside, **terms}  # not those alone: the code lacks terms that were added before
        lacking = sorted(set(split(potential, beside).handed) - set(self.names.handed))
        if lacking:
            raise ModelError(
                f"{', '.join(terms)} read {', '.join(lacking)}, which the exported model does not hand on. Export it "
                "again from a model file that names these corrections."
            )
        whole = ExportedPotential(potential, self.names, self.derivatives, self.compiled_energy, beside, self.called)
        whole.metadata = self.metadata
        return whole

    @property
    def per_pass(self) -> dict[str, int]:
        """As `Potential.per_pass`, of what the code gives."""
        return {name: count for name, count in super().per_pass.items() if name in self.names.fields}

    @property
    def beside(self) -> tuple[str, ...]:
        """Heads and terms that run beside the compiled code, by their place in the config."""
        return self._parts.places

    @property
    def _parts(self) -> Split:
        return self._split[0]

    def _whole(self, graph: AtomicGraph) -> dict[str, Tensor]:
        forces, virial, *values = self.derivatives(pack(graph, self.names.lists))
        return named(values, self.names) | {"forces": forces, "virial": virial}

    def _beside(self, graph: AtomicGraph, stress: bool) -> dict[str, Tensor]:
        require_derivatives()
        tensors = pack(graph, self.names.lists)
        if self.compiled_energy is None:  # nothing is handed on: what runs beside reads the geometry alone
            fields = self._whole(graph)
        else:
            fields = named(self.compiled_energy(list(tensors)), self.names)
        handed = {name: fields[name].detach().requires_grad_() for name in self.names.handed}
        cotangents = no_cotangents(fields, self.names)
        leaves = {"forces": graph.positions.detach().requires_grad_()}
        if stress:  # not for others: what runs beside may have none, as some calculators
            leaves["virial"] = torch.zeros_like(graph.cell).requires_grad_()
        inputs = [*leaves.values(), *handed.values()]
        with torch.enable_grad():
            energy, more = self._parts.rest(graph.deformed(*leaves.values()), handed)
            gradients = [None] * len(inputs)
            if energy.requires_grad:
                gradients = torch.autograd.grad(energy.sum(), inputs, allow_unused=True)
        cotangents = [zero if g is None else g for g, zero in zip(gradients[len(leaves) :], cotangents, strict=True)]
        if self.compiled_energy is None:
            derivatives = fields["forces"], fields["virial"]
        else:
            derivatives = self.derivatives([*tensors, *cotangents])
        slopes = zip(leaves, derivatives, gradients, strict=False)
        derived = {name: value if slope is None else value - slope for name, value, slope in slopes}
        detached = {name: value.detach() for name, value in more.items()}
        fields = {name: value for name, value in fields.items() if name != "virial"}
        return fields | detached | {"energy": fields["energy"] + energy.detach()} | derived


@corrected.register
def _(potential: ExportedPotential) -> Potential:
    terms = lacking_corrections(potential)
    return potential.added(terms) if terms else potential


def _with_stress(prediction: dict[str, Tensor], graph: AtomicGraph) -> dict[str, Tensor]:
    """Stress from the virial; a structure without a volume has that of an infinitely large cell."""
    volume = graph.volume[:, None, None]
    stress = torch.where(volume > 0, -prediction["virial"] / volume.clamp(min=1e-12), 0.0)
    return prediction | {"stress": stress}
