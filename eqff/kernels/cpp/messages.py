"""See `eqff.kernels.messages`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from eqff.kernels.call import address, function, number, require

NAMES = ("T", "R", "h", "g", "T2", "R2", "h2", "by_T", "by_R", "by_h", "A")
"""Of arrays, in the order in which C++ takes them."""

MOST = 25
"""Components that C++ has room for, `room` in its source: up to degree 4."""

_ARGUMENTS = "i" + "nnn" + "ppppp" + "nn" + "p" * len(NAMES) + "i"


def edge_order(receiver: Tensor, sender: Tensor, *found: Tensor) -> bool:
    """Fills ``into``, ``out_of`` and ``order``; False if edges are not sorted or name atoms that don't exist."""
    into = found[0]
    tensors = map(address, (receiver, sender, *found))
    return not function("edge_order")(number(len(sender)), number(len(into) - 1), *tensors)


def run(what: int, edges: tuple[Tensor, ...], given: Tensor, features: Tensor, arrays: Mapping[str, Tensor]) -> None:
    """Fills the results among ``arrays``.

    Args:
        what: `eqff.kernels.messages.SUM`, ``FIRST`` or ``SECOND``.
        edges: As of `EdgeOrder.tensors`.
        given: Of the shape of the sum, (outputs, N, C).
        features: h, (inputs, N, C).
        arrays: Those of `NAMES` that are read or written.

    Raises:
        ValueError: More components than `MOST`.
    """
    require(given.shape[0] <= MOST and features.shape[0] <= MOST, given, features)
    receiver, sender, into, out_of, order = edges
    function("messages", features.dtype, _ARGUMENTS)(
        what,
        *(into.shape[0] - 1, sender.shape[0], features.shape[2]),
        *(into.data_ptr(), receiver.data_ptr(), sender.data_ptr(), out_of.data_ptr(), order.data_ptr()),
        *(given.shape[0], features.shape[0]),
        *(arrays[name].data_ptr() if name in arrays else None for name in NAMES),
        torch.get_num_threads(),
    )
