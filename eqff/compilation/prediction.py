"""Predictions of one potential from compiled code, which is made when batches ask for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from eqff.compilation.agreement import require_agreement, size_of
from eqff.compilation.failures import FAILURES
from eqff.compilation.plain_parts import results_of
from eqff.compilation.tapes import Tapes
from eqff.compilation.weights import Weights
from eqff.data.flat import pack, sizes_of, with_members
from eqff.data.graph import LOCAL, AtomicGraph
from eqff.derivatives import differentiate
from eqff.errors import ModelError
from eqff.kernels.library import complaint

if TYPE_CHECKING:
    from eqff.compilation.code import Code
    from eqff.parts import Part
    from eqff.potential import Potential

MOST = 8
"""Times that code is made for other sizes, before batches that it does not fit run uncompiled; for each kind of step
(whether with stress, for open structures only, with which parts compiled, in which precision, with which weights
trained) anew."""

log = logging.getLogger(__name__)
_uncompiled: ContextVar[bool] = ContextVar("uncompiled", default=False)


@contextmanager
def uncompiled() -> Iterator[None]:
    """Within it nothing runs compiled."""
    token = _uncompiled.set(True)
    try:
        yield
    finally:
        _uncompiled.reset(token)


class CompiledPrediction:
    """What `differentiate` gives with ``create_graph``, compiled; copies begin without code.

    Code is held against the plain prediction and its derivatives by the weights before it is used. Where the plain one
    isn't finite there is nothing to hold it against, and none is made. Batches with external charges run uncompiled.

    Args:
        potential: Of parts that compile, all batches or those of open structures, or that run inside as they are.
        compiler: One of `eqff.compilation.code.COMPILERS`.
        required: Whether it is an error if code can't be made or gives something else; else everything runs uncompiled
            from then on, and one log line says why.
    """

    def __init__(self, potential: Potential, compiler: str = "inductor", required: bool = True):
        self._potential, self._compiler, self._required = potential, compiler, required
        self._codes: dict[tuple, list[Code]] = {}
        self._told: set[str] = set()
        self._given_up = False

    def __reduce__(self) -> tuple[type, tuple[Potential, str, bool]]:
        return type(self), (self._potential, self._compiler, self._required)

    @cached_property
    def _energy(self) -> _Energy:
        return _Energy(self._potential)

    @cached_property
    def _weights(self) -> Weights:
        return Weights(self._energy)

    @cached_property
    def _lists(self) -> tuple[str, ...]:
        return tuple(self._potential.neighbour_lists)

    def __call__(self, graph: AtomicGraph, stress: bool) -> dict[str, Tensor]:
        """The prediction for a batch.

        Raises:
            ModelError: The model can't be compiled or code gives something else than uncompiled parts, and it is
                required; or a part can't treat the batch.
        """
        if _uncompiled.get() or self._given_up:
            return self._plain(graph, stress)
        if graph.external is not None:
            self._tell("Batches with external charges run uncompiled.")
            return self._plain(graph, stress)
        graph = with_members(graph)
        sizes = sizes_of(graph, self._lists)
        parts = {place: part for place, part in self._parts.items() if part.compiles_for(graph)}
        code = None
        if self._large_enough(sizes) and self._others_run_inside(parts):
            of_tensors = (graph.positions.dtype, graph.positions.device, *self._trained)
            code = self._code((stress, graph.open and self._asks_open, tuple(parts), *of_tensors), sizes, graph)
        if code is None:
            return self._plain(graph, stress)
        for part in parts.values():
            part.check_batch(graph)
        return self._run(code, graph)

    def _tell(self, text: str) -> None:
        """Logs a line once."""
        if text not in self._told:
            log.info(text)
            self._told.add(text)

    @property
    def _trained(self) -> list[bool]:
        return [value.requires_grad for value in self._weights.values]

    @cached_property
    def _parts(self) -> dict[str, Part]:
        return self._potential.ordered_parts()

    def _large_enough(self, sizes: Sequence[int]) -> bool:
        # compilers take 0 and 1 for special; lists beside the local one may be empty, as that of open structures' pairs
        edges = dict(zip(self._lists, sizes[2::2], strict=False))
        return sizes[0] > 1 and max(edges.values(), default=2) > 1 and edges.get(LOCAL, 2) > 1

    def _others_run_inside(self, compiled: Mapping[str, Part]) -> bool:
        outside = [k for k, part in self._parts.items() if k not in compiled and not part.runs_inside]
        if new := [f"model.{place}" for place in outside if place not in self._told]:
            log.warning(
                "Batches with periodic structures run uncompiled: there, %s can't be compiled, nor called as it is.",
                " and ".join(new),
            )
            self._told.update(outside)
        return not outside

    @cached_property
    def _asks_open(self) -> bool:
        return any(part.compiles_open and not part.compiles for part in self._parts.values())

    def _run(self, code: Code, graph: AtomicGraph) -> dict[str, Tensor]:
        return code(self._weights.values, pack(graph, self._lists), Tapes(self._parts, graph))

    def _running_inside(self, graph: AtomicGraph) -> dict[str, Part]:
        """Heads and terms that can't be compiled for the batch; they are told of once."""
        parts = {place: part for place, part in self._parts.items() if not part.compiles_for(graph)}
        if new := [place for place in parts if place not in self._told]:
            log.info(
                "The training step is compiled; %s run%s as before within it: what happens there depends on values.",
                " and ".join(f"model.{place}" for place in new),
                "s" if len(new) == 1 else "",
            )
            self._told.update(new)
        return parts

    def _code(self, kind: tuple, sizes: Sequence[int], graph: AtomicGraph) -> Code | None:
        """What fits, made now if there is none yet; None where too much has been made, or it can't be judged."""
        codes = self._codes.setdefault(kind, [])
        for code in codes:
            if code.fits(sizes):
                return code
        if len(codes) == MOST:
            return None
        plain = self._plain(graph, kind[0])  # first: what parts make once and keep must not be made of symbols
        if not all(bool(plain[name].isfinite().all()) for name in ("energy", "forces")):
            return None  # the training says so, and where it began
        if len(codes) == MOST - 1:
            log.warning(
                "The training step is compiled for the %dth time for other sizes of batches; sizes that come next run "
                "uncompiled.",
                MOST,
            )
        try:
            codes.append(self._made(graph, kind[0], kind[1], plain))
        except ModelError as error:
            if self._required:
                raise
            log.warning("Training steps run uncompiled: %s", error)
            self._given_up = True
            return None
        return codes[-1]

    def _made(self, graph: AtomicGraph, stress: bool, only_open: bool, plain: Mapping[str, Tensor]) -> Code:
        try:
            # compilers take seconds to import
            from eqff.compilation.capture import capture
            from eqff.compilation.code import compile_captured

            inside = results_of(self._running_inside(graph), plain)
            captured = capture(self._energy, self._weights, graph, self._lists, stress, only_open, inside)
            code = compile_captured(captured, self._compiler)
            found = self._run(code, graph)
        except FAILURES as error:
            raise ModelError(
                f"torch {torch.__version__} can't compile this model's training step: {complaint(error)} Is there a "
                "C++ compiler? Train with training.compile=false."
            ) from error
        require_agreement(found, plain)
        forces, others = {"forces": plain["forces"]}, [name for name in plain if name not in ("energy", "forces")]
        for fields in (["energy", "forces"], others):
            slopes, expected = (self._slopes(prediction, fields) for prediction in (found, plain))
            # what isn't finite uncompiled shows when it is trained on
            expected = {name: value for name, value in expected.items() if bool(value.isfinite().all())}
            largest = max((float(value.abs().max()) for value in expected.values() if value.numel()), default=0.0)
            require_agreement(forces | slopes, forces | expected, least=1e-3 * largest)
        return code

    def _slopes(self, prediction: Mapping[str, Tensor], fields: Sequence[str]) -> dict[str, Tensor]:
        """Derivatives of a sum over fields, each in units of its size, by every weight that is trained."""
        named = zip(self._weights.names, self._weights.values, strict=True)
        trained = {f"derivatives by {name}": value for name, value in named if value.requires_grad}
        wanted = {name: prediction[name] for name in fields if prediction[name].requires_grad}
        wanted = {name: value for name, value in wanted.items() if value.numel()}
        if not wanted or not trained:
            return {}
        atoms = len(prediction["forces"])
        given = [_uneven(value) / max(size_of(name, value.detach(), atoms), 1e-3) for name, value in wanted.items()]
        options = {"allow_unused": True, "materialize_grads": True, "retain_graph": True}
        by = torch.autograd.grad(list(wanted.values()), list(trained.values()), given, **options)
        return dict(zip(trained, by, strict=True))

    def _plain(self, graph: AtomicGraph, stress: bool) -> dict[str, Tensor]:
        return differentiate(self._potential.energy, graph, stress=stress, create_graph=True)


def _uneven(like: Tensor) -> Tensor:
    """Weights of a sum over values."""
    return torch.linspace(0.5, 1.5, like.numel(), dtype=like.dtype, device=like.device).view_as(like)


class _Energy(nn.Module):
    """The function that is differentiated, as a module with weights."""

    def __init__(self, potential: Potential):
        super().__init__()
        self.potential = potential

    def forward(self, graph: AtomicGraph) -> tuple[Tensor, dict[str, Tensor]]:
        return self.potential.energy(graph)
