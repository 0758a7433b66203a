"""See `eqff.kernels.messages`."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from eqff.kernels.call import address, function, number, threads

NAMES = ("T", "R", "h", "g", "T2", "R2", "h2", "by_T", "by_R", "by_h", "A")
"""Of arrays, in the order in which C++ takes them."""


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
    """
    receiver, sender, into, out_of, order = edges
    function("messages", features.dtype)(
        what,
        *(number(len(into) - 1), number(len(sender)), number(features.shape[2])),
        *map(address, (into, receiver, sender, out_of, order)),
        *(number(given.shape[0]), number(features.shape[0])),
        *(address(arrays.get(name)) for name in NAMES),
        threads(),
    )
