"""Operations written as others give the same."""

import pickle

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from eqff.compilation.capture import _symbol
from eqff.compilation.rewrites import rewrites
from eqff.kernels.capture import captured
from eqff.kernels.library import library
from eqff.kernels.linear import each_degree_map, each_degree_outer
from eqff.kernels.native.process import declared


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_maps_and_sums_of_outer_products(degree):
    torch.manual_seed(0)
    table, components = rewrites(torch.empty(0, device="meta")), (degree + 1) ** 2
    left, right = torch.randn(components, 5, 3).double(), torch.randn(components, 5, 4).double()
    outer = table[torch.ops.eqff.each_degree_outer.default](left, right)
    torch.testing.assert_close(outer, each_degree_outer(left, right))
    matrices = torch.randn(degree + 1, 4, 3).double().transpose(1, 2)
    mapped = table[torch.ops.eqff.each_degree_map.default](left, matrices)
    torch.testing.assert_close(mapped, each_degree_map(left, matrices))


@pytest.mark.skipif(library() is None, reason="needs a C++ compiler")
def test_products_of_rows_become_maps_of_the_models_precision_only():
    def found(dtype):
        rows, weights = torch.randn(7, 5, dtype=dtype), torch.randn(5, 32, dtype=dtype)

        def products(rows, weights):
            mapped = torch.addmm(weights[0], rows, weights)
            return mapped, rows.t() @ mapped, mapped.t() @ rows, mapped[:, :4] @ weights[:4], rows @ weights[:, :3]

        mode = FakeTensorMode(shape_env=ShapeEnv())
        with captured(), mode:
            sizes = _symbol(mode.shape_env, 7, "rows"), 5
            fake = torch.empty(sizes, dtype=dtype), torch.empty(5, 32, dtype=dtype)
            graph = make_fx(products, decomposition_table=rewrites(torch.empty(0)))(*fake)
        for ours, expected in zip(graph(rows, weights), products(rows, weights), strict=True):
            torch.testing.assert_close(ours, expected)
        return [str(node.target).split(".")[1] for node in graph.graph.nodes if "." in str(node.target)]

    names = found(torch.float32)
    # a part of larger rows, and few columns, are left to the library
    assert (names.count("each_degree_map"), names.count("each_degree_outer"), names.count("mm")) == (1, 2, 2)
    names = found(torch.float64)
    assert not {"each_degree_map", "each_degree_outer"} & set(names) and "addmm" in names


@pytest.mark.skipif(library() is None, reason="needs a C++ compiler")
def test_c_functions_are_declared_for_operations_of_one_precision():
    def maps(*pairs):
        return [each_degree_map(features, matrices) for features, matrices in pairs]

    def graph(*dtypes):
        pairs = [(torch.randn(4, 3, 5, dtype=dtype), torch.randn(2, 5, 16, dtype=dtype)) for dtype in dtypes]
        with captured():
            return make_fx(maps, tracing_mode="symbolic")(*pairs).graph

    operation = torch.ops.eqff.each_degree_map.default
    for dtype, name in ((torch.float32, "f32"), (torch.float64, "f64")):
        ((text,),) = declared(graph(dtype)).values()
        assert operation in declared(graph(dtype)) and f"eqff_each_degree_map_{name}" in text
    assert declared(graph(torch.float32, torch.float64)) == {}
    pickle.dumps(declared(graph(torch.float32)))  # Inductor's cache asks for it
