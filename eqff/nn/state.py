"""Total charge and multiplicity as inputs: an embedding that is zero for a neutral singlet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eqff.nn.reduce import segment_sum


class ChargeSpinEmbedding(nn.Module):
    """Spreads Q and the number of unpaired electrons over the atoms and embeds each share [after SpookyNet, 2021].

    Positive charge, negative charge and unpaired electrons are each shared out by learned positive weights that sum to
    one over a structure; a network without biases turns an atom's three shares into features. Neutral singlets get
    exactly zero.

    Args:
        channels: C.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.weigh = nn.Linear(channels, 3)
        self.embed = nn.Sequential(
            nn.Linear(3, channels, bias=False), nn.SiLU(), nn.Linear(channels, channels, bias=False)
        )

    def forward(self, scalars: Tensor, total_charge: Tensor, multiplicity: Tensor, batch: Tensor) -> Tensor:
        """What to add to the scalars.

        Args:
            scalars: Scalar features of the atoms, (N, C).
            total_charge: e, (B,).
            multiplicity: 2S + 1, (B,).
            batch: Structure of each atom, (N,).

        Returns:
            (N, C).
        """
        amounts = torch.stack([total_charge.relu(), (-total_charge).relu(), multiplicity - 1.0], dim=1)
        weights = nn.functional.softplus(self.weigh(scalars)) + 1e-6  # so that no sum of weights is zero
        shares = weights / segment_sum(weights, batch, amounts.shape[0])[batch] * amounts[batch]
        return self.embed(shares)
