"""From functions of tensors to machine code: traced with symbolic sizes, exported, compiled by AOTInductor."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from eqff.data.atoms import from_atoms
from eqff.data.batching import collate
from eqff.data.graph import AtomicGraph, graph_from_batch
from eqff.data.neighbours import add_neighbours
from eqff.errors import ModelError
from eqff.export.program import DerivativeFunction, EnergyFunction, Signature, no_cotangents, pack
from eqff.potential import Potential

_log = logging.getLogger(__name__)

OPTIONS = {"force_pointwise_cat": True}
"""Of Inductor; without, torch 2.13 reads neighbour sums too early in some fusions (see `eqff.compilation`)."""


def sample(potential: Potential, atoms: int = 11, seed: int = 0) -> AtomicGraph:
    """A periodic structure of the model's elements, to trace with: all sizes that can change differ from each other."""
    generator = np.random.default_rng(seed)
    channels = potential.backbone.channels if potential.backbone else 0
    fixed = {0, 1, 2, 3, 4, 9, 16, 25, channels}  # sizes of vectors, spherical components and channels
    for _ in range(100):
        graph = disordered(potential, atoms, generator)
        sizes = [graph.num_atoms, *(n for e in graph.edges.values() for n in e.slots.shape[1:] + e.sender.shape)]
        if len(set(sizes)) == len(sizes) and not set(sizes) & fixed:
            return graph
    raise ModelError("No structure was found to compile the model with: its cutoffs are too short for neighbours.")


def compile_functions(compiled: Potential, names: Signature, graph: AtomicGraph) -> dict[str, list[str]]:
    """Compiles energies and derivatives.

    Args:
        compiled: The parts to compile.
        names: What goes in and out.
        graph: To trace with.

    Returns:
        Files of each function: "derivatives", and "energy" where derivatives take cotangents.

    Raises:
        ModelError: The compiler can't; its own message is the cause.
    """
    frozen = copy.deepcopy(compiled).requires_grad_(False)
    inputs = pack(graph, names.lists)
    functions: dict[str, tuple[torch.nn.Module, list[Tensor]]] = {}
    if names.handed:
        with torch.no_grad():
            fields = compiled.energy(graph)[1]
        functions["energy"] = EnergyFunction(frozen, names), inputs
        inputs = inputs + no_cotangents(fields, names)
    functions["derivatives"] = DerivativeFunction(frozen, names), inputs
    return {name: _compile(name, function, tensors, graph) for name, (function, tensors) in functions.items()}


def _compile(name: str, function: torch.nn.Module, inputs: Sequence[Tensor], graph: AtomicGraph) -> list[str]:
    start = time.perf_counter()
    try:
        # what is traced holds no Python of eqff: first derivatives are part of it
        traced = make_fx(function, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*inputs)
        program = torch.export.export(traced, tuple(inputs), dynamic_shapes=_dynamic(inputs, graph))
        options = {**OPTIONS, "aot_inductor.package": True}
        files = torch._inductor.aot_compile(program.module(check_guards=False), tuple(inputs), options=options)
    except (RuntimeError, TypeError, ValueError, AssertionError, torch._inductor.exc.InductorError) as error:
        raise ModelError(
            f"torch {torch.__version__} can't compile this model ahead of time: {str(error).strip().splitlines()[0]} "
            "Is there a C++ compiler (g++)? The model file itself works as before."
        ) from error
    _log.info("Compiled %s in %.0f s.", name, time.perf_counter() - start)
    return [str(file) for file in files]


def _dynamic(inputs: Sequence[Tensor], graph: AtomicGraph) -> tuple[dict[int, torch.export.Dim] | None, ...]:
    """Which sizes can change: numbers of atoms, and of each list edges and columns of the table."""
    changing = {graph.num_atoms: torch.export.Dim("atoms", min=1)}
    for name, edges in graph.edges.items():
        changing[edges.sender.shape[0]] = torch.export.Dim(f"edges_{name}", min=2)
        changing[edges.slots.shape[1]] = torch.export.Dim(f"places_{name}", min=2)
    # a weight's size can be the same number, but only the first two sizes of what goes in are of atoms and edges
    described = []
    for tensor in inputs:
        first = {0: changing[tensor.shape[0]]} if tensor.dim() and tensor.shape[0] in changing else {}
        table = tensor.dim() == 2 and tensor.shape[0] == graph.num_atoms and tensor.dtype == torch.int64
        described.append(first | ({1: changing[tensor.shape[1]]} if table else {}) or None)
    return tuple(described)


def disordered(potential: Potential, atoms: int, generator: np.random.Generator) -> AtomicGraph:
    """A periodic structure of up to 27 atoms of the model's elements, none too close to another."""
    side = 2.6
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 3)
    chosen = grid[generator.choice(len(grid), atoms, replace=False)]
    positions = side * chosen + generator.normal(scale=0.25, size=(atoms, 3))
    numbers = [potential.elements[k % len(potential.elements)] for k in range(atoms)]
    structure = Atoms(numbers, positions, cell=3 * side * np.eye(3), pbc=True)
    data = from_atoms(structure, total_charge=0, multiplicity="lowest", labels=())
    return graph_from_batch(collate([add_neighbours(data, potential.neighbour_lists)]), potential.dtype)
