"""Products of batches of matrices, captured for any number of them."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from eqff.compilation.products import symbolic_products


def test_the_number_of_matrices_stays_a_symbol_with_every_torch():
    shapes = ShapeEnv()
    count = shapes.create_unbacked_symint()
    torch._check(count >= 2)
    with FakeTensorMode(shape_env=shapes):
        vectors, matrices = torch.empty(count, 1, 3), torch.empty(count, 3, 3)
    with symbolic_products():
        graph = make_fx(torch.matmul)(vectors, matrices)
    for number in (2, 5):
        rows, blocks = torch.randn(number, 1, 3), torch.randn(number, 3, 3)
        torch.testing.assert_close(graph(rows, blocks), rows @ blocks)
