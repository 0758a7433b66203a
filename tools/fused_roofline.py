"""Times the fused messages on the device at hand: share of its measured ceilings, and of the time plain PyTorch takes.

    python tools/fused_roofline.py --device cuda                         # 5,184 atoms of water, and small molecules
    python tools/fused_roofline.py --device cuda --dtype float64 --atoms 24000
    python tools/fused_roofline.py --device cuda --beside cuequivariance # published kernels in a column of their own

Bytes are the fewest: couplings, weights and indices of an edge once, features and sums of an atom once (what is
gathered more often should come from a cache). The second derivatives are two passes over the edges, counted as such.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import torch
from benchmarks.ceilings import measure, seconds_of
from torch import Tensor

from eqff.kernels.backends import ACCELERATORS
from eqff.kernels.bilinear import rows_bilinear
from eqff.kernels.choice import checked, fused, implementation, kernels
from eqff.kernels.messages import EdgeOrder, messages_first, messages_second, messages_sum, plain_messages
from eqff.nn.tensor_product import row_couplings

COMPONENTS = {"1 → 9": (1, 9), "4 → 9": (4, 9), "9 → 9": (9, 9)}
COLUMNS = ("ms", "MB", "GB/s", "GFLOP/s", "share of a ceiling", "plain, ms")
REACH = 300
"""Atoms: neighbours have numbers near each other, as in a structure that is written molecule by molecule."""


@dataclass
class Case:
    """One operation: what it runs, what plain PyTorch runs instead, and what that takes at least."""

    operation: str
    name: str
    run: Callable[[], object]
    plain: Callable[[], object]
    bytes: float
    flops: float


def order_of(atoms: int, neighbours: int, device: str) -> EdgeOrder:
    """A list of edges with the same number of them into each atom."""
    receiver = torch.arange(atoms, device=device).repeat_interleave(neighbours)
    sender = (receiver + torch.randint(-REACH, REACH + 1, receiver.shape, device=device)) % atoms
    return EdgeOrder.of(receiver, sender, atoms)


def message_cases(edges: EdgeOrder, components: tuple[int, int], channels: int, dtype: torch.dtype) -> list[Case]:
    """The sum, its derivatives and theirs."""
    (inputs, outputs), device = components, edges.sender.device.type
    count, atoms, size = len(edges.sender), len(edges.into) - 1, dtype.itemsize
    shapes = (count, outputs * inputs), (count, channels), (inputs, atoms, channels), (outputs, atoms, channels)
    *given, cotangent = (torch.randn(shape, dtype=dtype, device=device, requires_grad=True) for shape in shapes)
    also, edge = [torch.randn_like(value) for value in given], (outputs * inputs + channels) * size
    into, out_of = (atoms * rows * channels * size for rows in (outputs, inputs))
    products = count * outputs * inputs * channels

    def first(create_graph: bool = False) -> tuple[Tensor, ...]:
        return torch.autograd.grad(plain_messages(*given, edges), given, cotangent, create_graph=create_graph)

    def second() -> tuple[Tensor, ...]:
        return torch.autograd.grad(first(create_graph=True), [*given, cotangent], also)

    one, two, three = messages_sum, messages_first, messages_second
    tensors, still = edges.tensors, [value.detach() for value in (*given, cotangent)]
    return [
        Case("messages", "sum", lambda: one(*still[:3], *tensors), lambda: plain_messages(*still[:3], edges),
             count * (edge + 8) + into + out_of, 2 * products),
        Case("messages", "first derivatives", lambda: two(*still, *tensors), first,
             count * (2 * edge + 16) + into + 2 * out_of, 4 * products),
        Case("messages", "second derivatives", lambda: three(*still, *also, *tensors), second,
             count * (5 * edge + 24) + 2 * into + 5 * out_of, 10 * products),
    ]  # fmt: skip


def row_cases(rows: int, dtype: torch.dtype, device: str) -> list[Case]:
    """Matrices of edges from path weights and harmonics, and the derivatives of both."""
    couplings, found = row_couplings(1, 2, 2), []
    for name, axes in {"": (0, 1, 2), ", by path weights": (1, 0, 2), ", by harmonics": (2, 0, 1)}.items():
        sizes = [couplings.dense.shape[axis] for axis in axes]
        x, y = (torch.randn(rows, size, dtype=dtype, device=device) for size in sizes[1:])
        run, plain = (lambda f=f, x=x, y=y, axes=axes: f(x, y, axes) for f in (bound(couplings), couplings.plain))
        flops, moved = 3 * rows * int((couplings.dense != 0).sum()), rows * sum(sizes) * dtype.itemsize
        found.append(Case("bilinear", f"matrices of edges{name}", run, plain, moved, flops))
    return found


def bound(couplings: object) -> Callable[..., Tensor]:
    """The fused map."""
    return lambda x, y, axes: rows_bilinear(couplings, x, y, axes)


def published(case: Case, name: str, device: str) -> str:
    """What the published kernels of this name take for a case, ms, if they have its operation."""
    here = torch.empty(0, device=device)
    own = implementation(here, case.operation)
    with kernels(name):
        if implementation(here, case.operation) is own:
            return "-"
        return f"{1e3 * seconds_of(case.run, device):.3g}"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--atoms", type=int, nargs="+", default=[5184, 672])
    parser.add_argument("--neighbours", type=int, default=50)
    parser.add_argument("--beside", choices=list(ACCELERATORS), nargs="*", default=[])
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU here")
    for name in options.beside:
        checked(name)
    dtype = getattr(torch, options.dtype)
    if not fused(torch.empty(0, dtype=dtype, device=options.device)):
        raise SystemExit("No fused operations run on this device; the log says why.")
    ceilings = measure(options.device)
    print(f"Ceilings, float32: {ceilings}.")
    for atoms in options.atoms:
        torch.manual_seed(0)
        edges = order_of(atoms, min(options.neighbours, atoms), options.device)
        count = len(edges.sender)
        print(f"\n{atoms} atoms, {count} edges, {options.channels} channels, {options.dtype}\n")
        columns = ["components", "operation", *COLUMNS, *(f"{name}, ms" for name in options.beside)]
        print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
        cases = {name: message_cases(edges, sizes, options.channels, dtype) for name, sizes in COMPONENTS.items()}
        cases["1, 2 → 2"] = row_cases(count, dtype, options.device)
        for components, found in cases.items():
            for case in found:
                taken, plain = (seconds_of(function, options.device) for function in (case.run, case.plain))
                share = ceilings.seconds(case.flops, case.bytes) / taken
                cells = f"{1e3 * taken:.3g}", f"{case.bytes / 1e6:.3g}", f"{case.bytes / taken / 1e9:.3g}"
                cells += f"{case.flops / taken / 1e9:.3g}", f"{100 * share:.0f} %", f"{1e3 * plain:.3g}"
                cells += tuple(published(case, name, options.device) for name in options.beside)
                print(f"| {components} | {case.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
