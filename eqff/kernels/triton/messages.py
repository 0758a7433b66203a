"""See `eqff.kernels.messages`: a program for each atom that messages come to, or go out of; nothing adds atomically."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from eqff.kernels.messages import FIRST, SECOND, SUM
from eqff.kernels.triton.launch import Launch
from eqff.kernels.triton.message_kernels import derivative_kernel, sum_kernel


def edge_order(receiver: Tensor, sender: Tensor, into: Tensor, out_of: Tensor, order: Tensor) -> bool:
    """Fills ``into``, ``out_of`` and ``order``; False if edges are not sorted or name atoms that don't exist.

    PyTorch's sort is what there is to do here. The one answer is what the CPU waits for.
    """
    num_atoms = len(into) - 1
    atoms = torch.arange(num_atoms + 1, device=receiver.device)
    # a radix sort of half as many digits
    sorted_sender, found = torch.sort(sender.to(torch.int32) if num_atoms < 2**31 else sender, stable=True)
    order.copy_(found)
    torch.searchsorted(receiver, atoms, out=into)
    out_of.copy_(torch.searchsorted(sorted_sender, atoms.to(sorted_sender.dtype)))
    wrong = (receiver < 0) | (receiver >= num_atoms) | (sender < 0) | (sender >= num_atoms)
    wrong[1:] |= receiver[1:] < receiver[:-1]
    return not bool(wrong.any())


def run(what: int, edges: tuple[Tensor, ...], given: Tensor, features: Tensor, arrays: Mapping[str, Tensor]) -> None:
    """Fills the results among ``arrays``; see `eqff.kernels.cpp.messages.run`."""
    with torch.cuda.device_of(features):
        if what != SUM:
            _derivatives(edges, given, features, arrays, tangent=what == SECOND)
        if what != FIRST:
            _sum(edges, given, features, arrays, tangent=what == SECOND)


def _sum(
    edges: tuple[Tensor, ...], given: Tensor, features: Tensor, arrays: Mapping[str, Tensor], tangent: bool
) -> None:
    _, sender, into, _, _ = edges
    (inputs, atoms, channels), outputs = features.shape, given.shape[0]
    if not given.numel():
        return
    shape = Launch.of(atoms, channels, outputs, 0, features)
    T, R, h, T2, R2, h2 = _read(arrays, tangent)
    sum_kernel[(atoms, shape.blocks, shape.parts)](
        *(T, R, h, T2, R2, h2, arrays["A"], into, sender, atoms),
        **_constants(channels, inputs, outputs, tangent, shape),
        BLOCK=shape.block,
    )


def _derivatives(
    edges: tuple[Tensor, ...], given: Tensor, features: Tensor, arrays: Mapping[str, Tensor], tangent: bool
) -> None:
    receiver, _, _, out_of, order = edges
    (inputs, atoms, channels), outputs = features.shape, given.shape[0]
    if not features.numel():
        return
    held = outputs + 4 * tangent  # twice as many temporary ones
    shape = Launch.of(atoms, channels, inputs, held, features)
    T, R, h, T2, R2, h2 = _read(arrays, tangent)
    by_T, by_R = _each(arrays["by_T"], shape.blocks), _each(arrays["by_R"], shape.parts)
    derivative_kernel[(atoms, shape.blocks, shape.parts)](
        *(T, R, h, arrays["g"], T2, R2, h2, by_T, by_R, arrays["by_h"], out_of, order, receiver, atoms, len(order)),
        **_constants(channels, inputs, outputs, tangent, shape),
        **{"STRIPS": shape.strips, "WIDTH": shape.block // shape.strips},
    )
    _add_up(by_T, arrays["by_T"])
    _add_up(by_R, arrays["by_R"])


def _read(arrays: Mapping[str, Tensor], tangent: bool) -> tuple[Tensor, ...]:
    names = ("T", "R", "h")
    return *(arrays[name] for name in names), *(arrays[name + "2" if tangent else name] for name in names)


def _each(result: Tensor, count: int) -> Tensor:
    """Room for parts of a sum; the result itself where there is one."""
    return result if count == 1 else result.new_empty(count, *result.shape)


def _add_up(parts: Tensor, result: Tensor) -> None:
    if parts is not result:
        torch.sum(parts, dim=0, out=result)


def _constants(channels: int, inputs: int, outputs: int, tangent: bool, shape: Launch) -> dict[str, int | bool]:
    """What kernels are compiled for, and how."""
    sizes = {"CHANNELS": channels, "INPUTS": inputs, "OUTPUTS": outputs, "TANGENT": tangent}
    program = {"PART": shape.part, "EDGES": shape.edges, "num_warps": shape.warps}
    return {**sizes, **program, "enable_fp_fusion": True}
