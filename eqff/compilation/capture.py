"""A prediction and its derivatives by all weights as one graph of operations, captured with symbolic sizes.

Forces are a derivative, and a loss on them is differentiated again. PyTorch's engine does both while `make_fx` looks
on, so rules of derivatives are Python that runs once, and what comes out is a flat graph of operations: no derivative
is left for a compiler to take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch._dynamo.source import ConstantSource
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv

from eqff.compilation.plain_parts import Results, with_plain_parts
from eqff.compilation.products import symbolic_products
from eqff.compilation.rewrites import rewrites
from eqff.compilation.weights import Weights
from eqff.data.flat import pack, sizes_of, unpack
from eqff.data.graph import AtomicGraph
from eqff.derivatives import EnergyFunction, differentiate
from eqff.kernels.capture import captured, mark, marked


@dataclass(frozen=True)
class Captured:
    """What was captured.

    Attributes:
        graph: From weights, tensors of the graph and cotangents to predictions, then derivatives by weights that are
            trained (None where there is none).
        mode: In which its sizes are symbols.
        sizes: The symbols, as of `eqff.data.flat.sizes_of`.
        names: Of the predicted fields, in order.
        differentiable: Which of them have a cotangent.
    """

    graph: fx.GraphModule
    mode: FakeTensorMode
    sizes: tuple[int | torch.SymInt, ...]
    names: tuple[str, ...]
    differentiable: tuple[bool, ...]


def capture(
    energy: nn.Module,
    weights: Weights,
    graph: AtomicGraph,
    lists: Sequence[str],
    stress: bool,
    only_open: bool = False,
    plain: Results | None = None,
) -> Captured:
    """Captures `eqff.derivatives.differentiate` and the derivative of what it gives.

    Args:
        energy: A module whose call is the function to differentiate.
        weights: Of the module.
        graph: With its table of structures. Its numbers don't matter; sizes of 2 and more become symbols.
        lists: Neighbour lists that are read.
        stress: As of `differentiate`.
        only_open: Whether it will be called for open structures only.
        plain: Of parts that run as they are; the last tensor, behind those of the graph, is the number of the call.
    """
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    sizes = tuple(_symbol(mode.shape_env, size, f"size{n}") for n, size in enumerate(sizes_of(graph, lists)))
    values = [mode.from_tensor(v.detach(), static_shapes=True).requires_grad_(v.requires_grad) for v in weights.values]
    tensors = [*_symbolic(graph, lists, sizes, mode), mode.from_tensor(torch.zeros(1, dtype=torch.int64))]
    found: dict[str, tuple] = {}

    def joint(values: list[Tensor], tensors: list[Tensor]) -> list[Tensor | None]:
        function: EnergyFunction = weights.bound(energy, values)
        with with_plain_parts(plain or {}, tensors[-1]):
            graph = unpack(tensors, lists, only_open, with_table=True)
            predicted = differentiate(function, graph, stress=stress, create_graph=True)
        outputs = list(predicted.values())
        found["names"], found["differentiable"] = tuple(predicted), tuple(v.requires_grad for v in outputs)
        wanted = [value for value in outputs if value.requires_grad]
        trained = [value for value in values if value.requires_grad]
        cotangents = [mark(value.detach()) for value in wanted]
        by = torch.autograd.grad(wanted, trained, cotangents, allow_unused=True) if wanted and trained else []
        return [*(value.detach() for value in outputs), *by]

    products = symbolic_products()
    with captured(), products, mode, torch.enable_grad():
        traced = make_fx(joint)(values, tensors)
    with mode, torch.no_grad():
        # rules of derivatives that are PyTorch's own write into tensors, which no graph may do that is cut in two
        table = rewrites(graph.positions)
        traced = make_fx(torch.func.functionalize(traced), decomposition_table=table)(values, tensors)
    _hoist(traced.graph)
    return Captured(traced, mode, sizes, **found)


def _symbol(shapes: ShapeEnv, size: int, name: str) -> int | torch.SymInt:
    """A size that can be any of 2 and more; others are themselves."""
    if size < 2:
        return size
    source = ConstantSource(name)
    symbol = shapes.create_symbol(size, source, DimDynamic.DYNAMIC)
    return shapes.create_symintnode(symbol, hint=size, source=source)


def _symbolic(
    graph: AtomicGraph, lists: Sequence[str], sizes: Sequence[int | torch.SymInt], mode: FakeTensorMode
) -> list[Tensor]:
    """`pack`'s tensors with symbols for sizes."""
    atoms, structures, *of_lists, members = sizes
    pairs = zip(of_lists[::2], of_lists[1::2], strict=True)
    per_atom, per_structure = (atoms,), (structures,)
    first = [per_atom, per_atom, *[per_structure] * 4, per_atom, per_structure]
    given = pack(graph, lists)
    shapes = [(*size, *tensor.shape[1:]) for size, tensor in zip(first, given[: len(first)], strict=True)]
    for edges, places in pairs:
        shapes += [(edges,), (edges,), (edges, 3), (atoms, places)]
    shapes.append((structures, members))
    with mode:
        return [
            torch.empty(shape, dtype=tensor.dtype, device=tensor.device)
            for shape, tensor in zip(shapes, given, strict=True)
        ]


def _hoist(graph: fx.Graph) -> None:
    """Makes what `mark` left inputs, behind the others and under the names by which a partitioner knows cotangents."""
    inputs = graph.find_nodes(op="placeholder")
    for index, node in enumerate(inputs):
        node.name = node.target = f"primals_{index}"
    last = inputs[-1]
    for index, node in enumerate(graph.find_nodes(op="call_function", target=marked)):
        with graph.inserting_after(last):
            last = graph.placeholder(f"tangents_{index}")
        last.meta.update(node.meta)
        node.replace_all_uses_with(last)
        graph.erase_node(node)
    graph.eliminate_dead_code()
    graph.lint()
