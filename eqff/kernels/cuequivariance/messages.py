"""See `eqff.kernels.messages`: a segmented polynomial of each edge, and its derivatives as the library takes them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import cuequivariance as cue
import cuequivariance_torch as cuet
import torch
from torch import Tensor

from eqff.kernels.backends import BACKENDS
from eqff.kernels.messages import FIRST, SECOND, SUM

METHODS = {"cuda": "uniform_1d"}
"""By device: NVIDIA's kernels. Elsewhere there is the library's plain one, for tests."""

READ = {SUM: ("T", "R", "h"), FIRST: ("T", "R", "h", "g"), SECOND: ("T", "R", "h", "g", "T2", "R2", "h2")}
WRITTEN = {SUM: ("A",), FIRST: ("by_T", "by_R", "by_h"), SECOND: ("by_T", "by_R", "by_h", "A")}
"""Arrays in the order in which the library's derivatives have them."""

OF_SENDERS, OF_RECEIVERS = ("h", "h2", "by_h"), ("g", "A")
"""Arrays of atoms, which edges read or add to by index; the others have a row for each edge."""


def edge_order(receiver: Tensor, sender: Tensor, *found: Tensor) -> bool:
    """As the device's own backend finds it."""
    return BACKENDS[receiver.device.type].module("messages").edge_order(receiver, sender, *found)


@torch.no_grad()
def run(what: int, edges: tuple[Tensor, ...], given: Tensor, features: Tensor, arrays: Mapping[str, Tensor]) -> None:
    """Fills the results among ``arrays``; see `eqff.kernels.cpp.messages.run`."""
    receiver, sender, *_ = edges
    results = [arrays[name] for name in WRITTEN[what]]
    if not len(sender) or not features.numel() or not given.numel():
        for result in results:
            result.zero_()
        return
    index = {**dict.fromkeys(OF_SENDERS, sender), **dict.fromkeys(OF_RECEIVERS, receiver)}
    (inputs, atoms, channels), outputs = features.shape, given.shape[0]
    with torch.cuda.device_of(features):
        found = _module(what, inputs, outputs, channels, features.device)(
            [_rows(arrays[name]) for name in READ[what]],
            {place: index[name] for place, name in enumerate(READ[what]) if name in index},
            # the library reads the number of rows off a tensor's shape
            {place: features.new_empty(atoms, 0) for place, name in enumerate(WRITTEN[what]) if name in index},
            {place: index[name] for place, name in enumerate(WRITTEN[what]) if name in index},
        )
    for rows, result in zip(found, results, strict=True):
        result.copy_(rows if result.ndim == 2 else rows.unflatten(1, (len(result), -1)).transpose(0, 1))


def _rows(array: Tensor) -> Tensor:
    """A row for each edge or atom: of arrays (components, N, C), components one after the other."""
    return array if array.ndim == 2 else array.transpose(0, 1).flatten(1)


@cache
def _module(what: int, inputs: int, outputs: int, channels: int, device: torch.device) -> cuet.SegmentedPolynomial:
    method = METHODS.get(device.type, "naive")
    return cuet.SegmentedPolynomial(polynomial(what, inputs, outputs, channels), method, name="messages").to(device)


def polynomial(what: int, inputs: int, outputs: int, channels: int) -> cue.SegmentedPolynomial:
    """Of one edge: the sum A = T R h, or what its derivatives add for an edge, each term a product of three factors."""
    product = cue.SegmentedTensorProduct.from_subscripts(",u,u,u")
    product.add_segments(0, inputs * outputs * [()])
    for operand, components in enumerate((1, inputs, outputs), start=1):
        product.add_segments(operand, components * [(channels,)])
    for n in range(outputs):
        for m in range(inputs):
            product.add_path(n * inputs + m, 0, m, n, c=1.0)
    found = cue.SegmentedPolynomial.eval_last_operand(product)
    for _ in range((SUM, FIRST, SECOND).index(what)):
        found, _ = found.backward([True] * found.num_inputs, [True] * found.num_outputs)
    return found
