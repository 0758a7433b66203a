"""The message: features of neighbours times spherical harmonics times radial weights, summed over neighbours."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn

from eqff.kernels.bilinear import RowBilinear, RowCouplings
from eqff.kernels.capture import with_numbers
from eqff.kernels.messages import EdgeOrder, messages
from eqff.nn.spherical import components, coupling, num_components, paths


def path_couplings(degree_in: int, degree_edge: int, degree_out: int) -> Tensor:
    """Couplings of every path, scaled so that each degree of the result has one size whatever their number.

    Returns:
        (paths, (degree_edge + 1)², (degree_out + 1)², (degree_in + 1)²), float64.
    """
    every = paths(degree_in, degree_edge, degree_out)
    sizes = (num_components(degree) for degree in (degree_edge, degree_out, degree_in))
    blocks = torch.zeros(len(every), *sizes, dtype=torch.float64)
    for index, (l1, l2, l3) in enumerate(every):
        share = sum(path[2] == l3 for path in every)
        block = coupling(l1, l2, l3).permute(1, 2, 0) / math.sqrt(share)
        blocks[index, components(l2), components(l3), components(l1)] = block
    return blocks


@cache
def row_couplings(degree_in: int, degree_edge: int, degree_out: int) -> RowCouplings:
    """The same from path weights and harmonics to the matrix of an edge, sparse."""
    with with_numbers():
        blocks = path_couplings(degree_in, degree_edge, degree_out)
        return RowCouplings(blocks.flatten(2).permute(2, 0, 1).contiguous())


class NeighbourTensorProduct(nn.Module):
    """A_i = Σ_j Σ_p ρ_p(r_ij) R_c(r_ij) (h_j ⊗ Y(r̂_ij))_p, channel by channel ("uvu" in e3nn's words).

    The radial weight of path p = (l1, l2, l3) and channel c is the product ρ_p R_c. With it the channels share one
    small matrix per edge, which takes degrees l1 to l3, and the sum over neighbours is one batched matrix product: no
    array of size edges × paths × channels is ever made. Linear maps of channels before and after restore the freedom
    that separate weights for each (p, c) would have.

    Where h has scalars only there is one path for each l3 and ρ is left out: a linear map after the sum does its work.

    Args:
        degree_in: Highest degree of h.
        degree_edge: Highest degree of Y.
        degree_out: Highest degree of A.
    """

    def __init__(self, degree_in: int, degree_edge: int, degree_out: int):
        super().__init__()
        self.degrees = degree_in, degree_edge, degree_out
        self.paths = paths(degree_in, degree_edge, degree_out) if degree_in else []
        self.components_in, self.components_out = num_components(degree_in), num_components(degree_out)
        if not self.paths:
            if degree_out > degree_edge:
                raise ValueError(f"scalars times harmonics up to {degree_edge} have no degree {degree_out}")
            return
        blocks = path_couplings(degree_in, degree_edge, degree_out)
        self.register_buffer(
            "couplings", blocks.flatten(2).flatten(0, 1).to(torch.get_default_dtype()), persistent=False
        )

    def forward(self, sent: Tensor, harmonics: Tensor, channel_weights: Tensor, path_weights: Tensor | None) -> Tensor:
        """Sums messages into receivers; places without a neighbour must have zero ``channel_weights``.

        Args:
            sent: Features of the neighbours, (N, K, (degree_in + 1)², C).
            harmonics: Y, (N, K, (degree_edge + 1)²).
            channel_weights: R, (N, K, C).
            path_weights: ρ, (N, K, paths); None where h has scalars only.

        Returns:
            (N, (degree_out + 1)², C).
        """
        atoms, places, _, channels = sent.shape
        if not self.paths:
            used = harmonics[..., : self.components_out]
            return used.transpose(1, 2) @ (channel_weights * sent[:, :, 0])
        weighted = (path_weights[..., :, None] * harmonics[..., None, :]).flatten(2).flatten(0, 1)
        turned = (weighted @ self.couplings).view(atoms, places, self.components_out, self.components_in)
        turned = turned.transpose(1, 2).reshape(atoms, self.components_out, places * self.components_in)
        return turned @ (channel_weights[:, :, None] * sent).view(atoms, places * self.components_in, channels)

    def along_edges(
        self,
        features: Tensor,
        harmonics: Tensor,
        channel_weights: Tensor,
        path_weights: Tensor | None,
        order: EdgeOrder,
    ) -> Tensor:
        """The same by fused operations, from a list of edges.

        Args:
            features: h of every atom, (N, (degree_in + 1)², C).
            harmonics: Y, (E, (degree_edge + 1)²).
            channel_weights: R, (E, C).
            path_weights: ρ, (E, paths); None where h has scalars only.
            order: Of the edges.

        Returns:
            (N, (degree_out + 1)², C).
        """
        if not self.paths:
            matrices = harmonics[:, : self.components_out]
        else:
            matrices = RowBilinear.apply(path_weights, harmonics, row_couplings(*self.degrees), (0, 1, 2))
        return messages(matrices, channel_weights, features.transpose(0, 1), order).transpose(0, 1)
