"""What all fused operations do where their own derivatives end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def plain_gradients(
    function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor], given: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Derivatives of <given, function(inputs)> by the inputs, themselves differentiable to any order.

    For derivatives beyond those that an operation has a rule of its own for.

    Args:
        function: In plain PyTorch.
        inputs: Connected to their own history, which is left alone.
        given: Cotangents of what it returns; None for zero.
    """
    with torch.enable_grad():
        # under names of their own: one input may follow from another, and that way is not the one to go here
        inputs = [value.view_as(value) for value in inputs]
        wanted = [value for value in inputs if value.requires_grad]
        pairs = zip(function(*inputs), given, strict=True)
        pairs = [(out, g) for out, g in pairs if g is not None and out.requires_grad]
        if not pairs:  # nothing depends on any of them
            return [None for _ in inputs]
        outputs, cotangents = [out for out, _ in pairs], [g for _, g in pairs]
        found = iter(torch.autograd.grad(outputs, wanted, cotangents, create_graph=True, allow_unused=True))
    return [next(found) if value.requires_grad else None for value in inputs]


def needed(ctx: Any) -> list[bool]:
    """Within a backward rule: of which tensors among its inputs (they come first) a derivative is asked for.

    ``ctx.needs_input_grad`` says which require gradients at all. The derivative of the energy by positions, say,
    passes by every weight, and the products for the weights' derivatives would be made for nothing.
    """
    return [node is not None and _runs(node) for node, _ in ctx.next_functions]


def _runs(node: Any) -> bool:
    asked = getattr(torch._C, "_will_engine_execute_node", None)  # PyTorch's own, not promised to stay
    if asked is None:
        return True
    try:
        return asked(node)
    except RuntimeError:  # a leaf that is asked for itself
        return True
