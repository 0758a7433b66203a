"""Operations as C functions of compiled code: declared as they are written, and equal to those that Python calls."""

import ctypes
import subprocess
from pathlib import Path

import pytest
import torch
from torch._C import _aoti
from torch.fx.experimental.proxy_tensor import make_fx

from eqff.export.native import linked
from eqff.export.operations import called_by_name, transpose_weights
from eqff.kernels import bilinear, linear, messages, products  # noqa: F401  # define operations
from eqff.kernels.capture import captured
from eqff.kernels.library import FLAGS, find_compiler, library
from eqff.kernels.library import SOURCES as HEADERS
from eqff.kernels.native import declarations
from eqff.kernels.native.declarations import SCHEMAS, declaration, linkable
from eqff.kernels.native.objects import SOURCES
from eqff.kernels.product_plans import MixedPlan
from eqff.nn.linear import DegreeLinear
from eqff.nn.many_body import product_plan

compiled = pytest.mark.skipif(library() is None, reason="needs a C++ compiler")


@pytest.mark.parametrize("schema", SCHEMAS)
def test_schemas_are_those_of_the_operations(schema):
    operation = getattr(torch.ops.eqff, schema.partition("(")[0]).default
    assert str(operation._schema) == f"eqff::{schema}"


def test_declarations():
    assert declaration("f(str constant, Tensor x, int[] axes, SymInt n, bool all) -> (Tensor, Tensor)") == (
        "AOTITorchError aoti_torch_cpu_f(const char*, AtenTensorHandle, const int64_t*, int64_t, int64_t, int32_t, "
        "AtenTensorHandle*, AtenTensorHandle*)"
    )


@compiled
@pytest.mark.parametrize(("channels", "linked_too"), [(16, True), (4, False)])
def test_products_without_code_of_their_own_are_called_by_name(channels, linked_too):
    plan = product_plan(1, 1, 2, torch.float32, MixedPlan)
    factors, scale = torch.randn(4, 3, 2 * channels), torch.randn(3, 2 * channels)
    with captured():
        graph = make_fx(lambda u, s: products.products_value(plan, u, s), tracing_mode="symbolic")(factors, scale).graph
    operation = torch.ops.eqff.products_value.default
    assert (operation in linkable(graph)) == linked_too
    assert called_by_name(graph) == (() if linked_too else (str(operation._schema),))


def test_another_schema_is_called_by_name(monkeypatch):
    monkeypatch.setattr(declarations, "SCHEMAS", ())
    with captured():
        graph = make_fx(linear.each_degree_map)(torch.randn(4, 3, 5), torch.randn(2, 5, 6)).graph
    assert linkable(graph) == {}
    with linked(graph, torch.float32) as options:
        assert options == {}


def test_transposed_weights_are_kept():
    layer = DegreeLinear(1, 5, 6).requires_grad_(False)  # as in exported models

    class Derivative(torch.nn.Module):
        def forward(self, features):
            with torch.enable_grad():
                features = features.detach().requires_grad_()
                return torch.autograd.grad(layer(features).square().sum(), features)[0]

    features = torch.randn(3, 4, 5)
    with captured():
        traced = make_fx(Derivative())(features)
    expected = traced(features)
    before = [node.target for node in traced.graph.nodes]
    transpose_weights(traced)
    after = [node.target for node in traced.graph.nodes]
    count = lambda targets: sum(target == torch.ops.aten.transpose.int for target in targets)  # noqa: E731
    assert count(after) == count(before) - 1
    torch.testing.assert_close(traced(features), expected)


@pytest.fixture(scope="module", params=[torch.float32, torch.float64])
def each_degree(request, tmp_path_factory):
    """The C functions for matrix products, for tensors, and their precision."""
    made = tmp_path_factory.mktemp("native") / "linear.so"
    root, real = Path(torch.__file__).parent, {torch.float32: "float", torch.float64: "double"}[request.param]
    command = [*find_compiler(), *FLAGS, f"-DREAL={real}", f"-I{HEADERS}", f"-I{root / 'include'}"]
    torch_library = (f"-L{root / 'lib'}", "-ltorch_cpu")
    subprocess.run([*command, str(SOURCES / "linear_calls.cpp"), *torch_library, "-o", str(made)], check=True)
    loaded = ctypes.CDLL(str(made))

    def call(name, *tensors):
        handles = [
            ctypes.c_void_p(pointer(capsule, None))
            for capsule in _aoti.unsafe_alloc_void_ptrs_from_tensors(list(tensors))
        ]
        result = ctypes.c_void_p()
        assert loaded[f"aoti_torch_cpu_each_degree_{name}"](*handles, ctypes.byref(result)) == 0
        return _aoti.alloc_tensor_by_stealing_from_void_ptr(capsule_of(result, None, None))

    return call, request.param


pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
capsule_of = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)


@compiled
@pytest.mark.parametrize(
    ("degree", "atoms", "inner", "columns"), [(0, 1, 1, 1), (1, 5, 4, 13), (2, 7, 20, 64), (2, 25, 9, 86)]
)
@pytest.mark.parametrize("turned", [False, True])
def test_matrix_products(each_degree, degree, atoms, inner, columns, turned):
    call, dtype = each_degree
    features = torch.randn((degree + 1) ** 2, atoms, inner, dtype=dtype)
    matrices = torch.randn(degree + 1, inner, columns, dtype=dtype)
    if turned:
        matrices = matrices.transpose(1, 2).contiguous().transpose(1, 2)
    expected = linear.each_degree_map(features, matrices)
    torch.testing.assert_close(call("map", features, matrices), expected)


@compiled
@pytest.mark.parametrize(
    ("degree", "atoms", "inner", "columns"),
    [(0, 1, 1, 1), (1, 5, 4, 13), (2, 7, 20, 64), (2, 110, 9, 86), (1, 0, 7, 16)],
)
@pytest.mark.parametrize("threads", [1, 3])
def test_sums_of_outer_products(each_degree, degree, atoms, inner, columns, threads):
    call, dtype = each_degree
    left = torch.randn((degree + 1) ** 2, atoms, inner, dtype=dtype)
    right = torch.randn((degree + 1) ** 2, atoms, columns, dtype=dtype)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found = call("outer", left, right)
    finally:
        torch.set_num_threads(before)
    # rounding of sums of so many numbers of size 1
    tolerance = 2 * atoms * (2 * degree + 1) * torch.finfo(dtype).eps
    torch.testing.assert_close(found, linear.each_degree_outer(left, right), rtol=0, atol=tolerance)
