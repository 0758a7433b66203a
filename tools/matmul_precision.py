"""What matrix products in TF32 or bfloat16 would do to energies, forces and gradients of a trained model.

    python tools/matmul_precision.py MODEL --data shipped:ions/test_unseen_molecules.extxyz.gz

MODEL is a run folder, a model file or the name of a pretrained model. Errors are against the same weights in float64,
of the first --frames structures: energies per atom and force components, and, with labels, the gradient of the loss
(as in training) relative to its norm. Units that compute in TF32 or bfloat16 round what goes into a product and add up
in float32; that is imitated here, in forward and derivatives, for every matrix product, so no GPU is needed
[Micikevicius et al., ICLR 2018; Ootomo & Yokota, Int. J. High Perform. Comput. Appl. 36, 475 (2022)]. --autocast shows
torch.autocast (trainer.precision=bf16-mixed of Lightning) instead, in which results of products are bfloat16 too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

import eqff
from eqff.data.batching import collate
from eqff.data.graph import graph_from_batch
from eqff.data.neighbours import add_neighbours
from eqff.data.reading import read_frames
from eqff.errors import EqffError
from eqff.potential import Potential

MANTISSA = {"tf32": 10, "bf16": 7}
"""Bits after the point."""
PRODUCTS = {torch.ops.aten.mm, torch.ops.aten.bmm, torch.ops.aten.addmm, torch.ops.aten.baddbmm}


def rounded(values: Tensor, bits: int) -> Tensor:
    """float32 numbers (any shape) to so many bits of mantissa, nearest, ties to even."""
    dropped = 23 - bits
    whole = values.contiguous().view(torch.int32)
    half = (1 << (dropped - 1)) - 1 + ((whole >> dropped) & 1)
    return ((whole + half) & ~((1 << dropped) - 1)).view(torch.float32)


class RoundedProducts(TorchDispatchMode):
    """While it holds, float32 matrices are rounded before they are multiplied, and products added up in float32.

    Args:
        bits: Of their mantissas.
    """

    def __init__(self, bits: int):
        super().__init__()
        self.bits = bits

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        """The operation, on rounded matrices if it is a product."""
        if func._overloadpacket in PRODUCTS:
            # what is added to a product is not an operand of it
            added = len(args) - 2
            args = (*args[:added], *tree_map(self._round, args[added:]))
        return func(*args, **(kwargs or {}))

    def _round(self, value: Any) -> Any:
        is_float = isinstance(value, Tensor) and value.dtype == torch.float32
        return rounded(value, self.bits) if is_float else value


def results(potential: Potential, batch: Any) -> dict[str, Tensor]:
    """Energies per atom (B,), forces (N, 3), and the gradient of their squared errors by all weights, flat; float64."""
    graph = graph_from_batch(batch, potential.dtype)
    potential.requires_grad_(True)  # what is loaded is not trained on
    prediction = potential(graph, forces=True, create_graph=True)
    atoms = batch.ptr[1:] - batch.ptr[:-1]
    energy = prediction["energy"] / atoms
    told = {"energy": energy.detach().double(), "forces": prediction["forces"].detach().double()}
    if "forces" in batch and "energy" in batch:
        loss = (energy - batch["energy"] / atoms).square().mean()
        loss = loss + (prediction["forces"] - batch["forces"].to(prediction["forces"].dtype)).square().mean()
        weights = [weight for weight in potential.parameters() if weight.requires_grad]
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        told["gradient"] = torch.cat([g.flatten().double() for g in gradients if g is not None])
    return told


def errors(found: dict[str, Tensor], exact: dict[str, Tensor]) -> dict[str, float]:
    """RMS of energies per atom in meV and forces in meV/Å, the largest force error, relative errors."""
    forces = found["forces"] - exact["forces"]
    told = {
        "energy, meV/atom": 1e3 * float((found["energy"] - exact["energy"]).square().mean().sqrt()),
        "forces, meV/Å": 1e3 * float(forces.square().mean().sqrt()),
        "largest, meV/Å": 1e3 * float(forces.abs().max()),
        "forces, relative": float(forces.norm() / exact["forces"].norm()),
    }
    if "gradient" in exact:
        told["gradient, relative"] = float((found["gradient"] - exact["gradient"]).norm() / exact["gradient"].norm())
    return told


def table(rows: dict[str, dict[str, float]]) -> str:
    """Markdown."""
    names = list(next(iter(rows.values())))
    lines = ["| products | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 1)]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(f"{row[key]:.2g}" for key in names) + " |")
    return "\n".join(lines)


def measure(make: Callable[[torch.dtype], Potential], batch: Any, autocast: bool) -> dict[str, dict[str, float]]:
    """Errors by kind of product.

    Args:
        make: Gives the model with weights of a dtype.
        batch: Structures with the model's neighbour lists.
        autocast: Whether torch.autocast is shown too.
    """
    exact = results(make(torch.float64), batch)
    potential = make(torch.float32)
    modes: dict[str, Any] = {"float32": nullcontext()}
    modes |= {name: RoundedProducts(bits) for name, bits in MANTISSA.items()}
    if autocast:
        modes["autocast to bfloat16"] = torch.autocast("cpu", torch.bfloat16)
    rows = {}
    for name, mode in modes.items():
        with mode:
            rows[name] = errors(results(potential, batch), exact)
    return rows


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="run folder, model file or name")
    parser.add_argument("--data", required=True, help="file of structures, as data.path")
    parser.add_argument("--frames", type=int, default=50, help="how many of them")
    parser.add_argument("--autocast", action="store_true", help="torch.autocast too")
    options = parser.parse_args(arguments)
    try:
        frames = read_frames(options.data, labels=("energy", "forces"))[: options.frames]
        first = eqff.load(options.model)
        batch = collate([add_neighbours(frame.clone(), first.neighbour_lists) for frame in frames])
        rows = measure(lambda dtype: eqff.load(options.model).to(dtype), batch, options.autocast)
    except EqffError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.model}, {len(frames)} structures, {batch.num_nodes} atoms\n\n{table(rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
