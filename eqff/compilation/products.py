"""Products of batches of matrices with symbols for sizes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import ShapeEnv


def symbolic_products() -> AbstractContextManager[None]:
    """Within it, ``a @ b`` of batches leaves the number of matrices a symbol.

    In torch 2.11 the product is written in C++ that asks for sizes as numbers, so that code would fit batches with as
    many edges only; its Python version does not. Later ones need neither, and their Python versions add checks of
    indices to what is captured.
    """
    return nullcontext() if keeps_symbols() else enable_python_dispatcher()


@cache
def keeps_symbols() -> bool:
    """Whether this torch's product does so by itself."""
    shapes = ShapeEnv()
    count = shapes.create_unbacked_symint()
    torch._check(count >= 2)
    with FakeTensorMode(shape_env=shapes):
        vectors, matrices = torch.empty(count, 1, 3), torch.empty(count, 3, 3)
    try:
        make_fx(torch.matmul)(vectors, matrices)
    except RuntimeError:  # the number of an unbacked symbol is nobody's to ask for
        return False
    return True
