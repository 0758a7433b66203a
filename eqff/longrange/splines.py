"""Cardinal B-splines: how charges are spread over a mesh and potentials are read from it [Essmann et al. 1995]."""

from __future__ import annotations

import torch
from torch import Tensor


def spline_weights(fractions: Tensor, order: int) -> Tensor:
    """Values of the ``order`` B-splines that overlap a point, as polynomials of its place between two mesh points.

    Args:
        fractions: w = u - floor(u) in [0, 1), any shape.
        order: p >= 2; p - 2 continuous derivatives.

    Returns:
        M_p(w + p - 1 - k) for the mesh points floor(u) - (p - 1) + k, k = 0, ..., p - 1: (..., p); each row sums to 1.
    """
    w = fractions
    weights = [1 - w, w]
    for n in range(3, order + 1):
        # M_n(x) = (x M_{n-1}(x) + (n - x) M_{n-1}(x - 1)) / (n - 1)
        previous = [torch.zeros_like(w), *weights, torch.zeros_like(w)]
        weights = []
        for k in range(n):
            x = w + (n - 1 - k)
            weights.append((x * previous[k] + (n - x) * previous[k + 1]) / (n - 1))
    return torch.stack(weights, dim=-1)


def spline_derivatives(fractions: Tensor, order: int, count: int) -> Tensor:
    """`spline_weights` and their first ``count - 1`` derivatives by the fraction, (..., count, p).

    M_p'(x) = M_{p-1}(x) - M_{p-1}(x - 1), so each derivative is a difference of splines of lower order.
    """
    derivatives = []
    for times in range(count):
        weights = spline_weights(fractions, order - times)
        for _ in range(times):
            weights = torch.nn.functional.pad(weights, (1, 0)) - torch.nn.functional.pad(weights, (0, 1))
        derivatives.append(weights)
    return torch.stack(derivatives, dim=-2)


def spline_transform(points: int, order: int, device: torch.device) -> Tensor:
    """|b(m)|² for m = 0, ..., points - 1: undoes what spreading and reading with splines does to each wave, float64.

    Even orders only: for odd ones it has a pole at the highest frequency.
    """
    # at a mesh point itself the weights are M_p(p - 1), ..., M_p(0); the order doesn't matter for the absolute value
    nodes = spline_weights(torch.zeros((), dtype=torch.float64, device=device), order)
    place = torch.arange(order, device=device) % points
    folded = torch.zeros(points, dtype=torch.float64, device=device).index_add(0, place, nodes)
    return 1 / torch.fft.fft(folded).abs().square()
