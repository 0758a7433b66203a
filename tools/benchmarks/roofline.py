"""Operations and bytes of each kernel of a model, and how near it comes to what the machine allows
[Williams, Waterman & Patterson, Commun. ACM 52, 65 (2009)]."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import flop_registry

from benchmarks.ceilings import Ceilings, seconds_of

KERNELS = {
    "harmonics": "spherical harmonics",
    "basis": "radial basis",
    "radial": "radial networks",
    "up": "linear map before the sum",
    "product": "tensor product and neighbour sum",
    "many_body": "many-body products",
    "residual": "residual linear map",
    "gate": "gate",
    "local": "local energy",
}
"""Names of modules, wherever they are in a model, and what they are."""


class Counter(TorchDispatchMode):
    """Counts while operations run: of matrix products what `torch.utils.flop_counter` says, of others one operation for
    each number that comes out. ``moved`` is what operations read and write one by one, as without fusion."""

    def __init__(self):
        super().__init__()
        self.flops = self.moved = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        out = func(*args, **kwargs)
        if func.is_view or func.namespace != "aten" and func._overloadpacket not in flop_registry:
            return out
        counted = flop_registry.get(func._overloadpacket)
        written = list(_tensors(out))
        if counted is not None:
            self.flops += counted(*args, **kwargs, out_val=out)
        else:
            self.flops += sum(value.numel() for value in written if value.is_floating_point())
        self.moved += sum(value.nbytes for value in [*_tensors((args, kwargs)), *written])
        return out


def _tensors(values: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


@dataclass
class Work:
    """Of one kernel, all its calls together: forward and derivative with respect to what comes in.

    Attributes:
        flops: Operations.
        bytes: Read and written at least: inputs, parameters and outputs, and in the derivative those of all of them.
        moved: Bytes that the operations of plain PyTorch read and write, one after the other.
        seconds: Measured.
        calls: In one evaluation of the model.
    """

    flops: float = 0.0
    bytes: float = 0.0
    moved: float = 0.0
    seconds: float = 0.0
    calls: int = 0
    functions: list[Callable[[], Any]] = field(default_factory=list)


def record(model: nn.Module, evaluate: Callable[[], Any]) -> dict[str, Work]:
    """What each kernel does in one evaluation; times are not taken yet.

    Args:
        model: Has modules named as in `KERNELS`.
        evaluate: Calls it.
    """
    works: dict[str, Work] = {}
    calls: list[tuple[str, nn.Module, tuple, dict[str, Any]]] = []

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple, kwargs: dict[str, Any], out: Any) -> None:
            calls.append((name, module, _detached(args), _detached(kwargs)))

        return hook

    named = [(name.rpartition(".")[2], module) for name, module in model.named_modules()]
    hooks = [m.register_forward_hook(keep(name), with_kwargs=True) for name, m in named if name in KERNELS]
    try:
        evaluate()
    finally:
        for hook in hooks:
            hook.remove()
    for name, module, args, kwargs in calls:
        _count(works.setdefault(name, Work()), module, args, kwargs)
    return {name: works[name] for name in KERNELS if name in works}


def _detached(values: Any) -> Any:
    def one(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return leaf.detach().clone().requires_grad_(leaf.is_floating_point())

    return tree_map(one, values)


def _count(work: Work, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
    inputs = [value for value in _tensors((args, kwargs)) if value.requires_grad]

    def forward() -> list[Tensor]:
        return [value for value in _tensors(module(*args, **kwargs)) if value.requires_grad]

    outputs = forward()
    seeds = [torch.ones_like(value) for value in outputs]

    def both() -> None:
        torch.autograd.grad(forward(), inputs, seeds, allow_unused=True)

    with Counter() as counter:
        both()
    parameters = [*module.parameters(), *module.buffers()]
    once = sum(value.nbytes for value in [*inputs, *outputs, *parameters])
    # the derivative reads inputs, parameters and gradients of outputs, and writes gradients of inputs
    again = sum(value.nbytes for value in [*inputs, *outputs, *parameters, *inputs])
    work.flops += counter.flops
    work.bytes += once + again
    work.moved += counter.moved
    work.calls += 1
    work.functions.append(both)


def timed(works: Mapping[str, Work], device: str) -> None:
    """Fills in ``seconds``."""
    for work in works.values():
        work.seconds = sum(seconds_of(function, device, 0.2) for function in work.functions)


def table(works: Mapping[str, Work], ceilings: Ceilings) -> str:
    """Markdown."""
    lines = [
        "| kernel | calls | MFLOP | MB at least | MB unfused | FLOP/byte | bound by | ms | share of the ceiling |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, work in works.items():
        share = ceilings.seconds(work.flops, work.bytes) / work.seconds
        cells = [KERNELS.get(name, name), work.calls, f"{work.flops / 1e6:.3g}", f"{work.bytes / 1e6:.3g}"]
        cells += [f"{work.moved / 1e6:.3g}", f"{work.flops / work.bytes:.2g}"]
        cells += [ceilings.binding(work.flops, work.bytes), f"{1e3 * work.seconds:.3g}", f"{100 * share:.0f} %"]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def missing(works: Mapping[str, Work]) -> list[str]:
    """Kernels that no module call was seen of: the model has none, or runs them as part of something else."""
    return [what for name, what in KERNELS.items() if name not in works]
