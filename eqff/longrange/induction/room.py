"""Whether damping would still end within the cutoff if polarizabilities grew as far as a training can take them."""

from __future__ import annotations

import torch

from eqff.data.graph import AtomicGraph
from eqff.errors import ModelError
from eqff.longrange.multipoles.damping import TholeDamping
from eqff.longrange.multipoles.interaction import MultipoleInteraction
from eqff.longrange.tuning import FADE, cutoff_for


class DampingRoom:
    """Refuses a training on periodic structures when it begins, rather than where it has gone too far.

    Args:
        interaction: Whose cutoff damping has to end within, in periodic structures.
        strength: Thole's a.
    """

    def __init__(self, interaction: MultipoleInteraction, strength: float):
        self.interaction, self.strength, self.refusal = interaction, strength, ""

    def heed(self, largest: float | None) -> None:
        """Is told the largest polarizability that can come, Å³; None where nothing bounds it."""
        extent, end = self._extent(largest or 0.0), FADE * self.interaction.splitting.cutoff
        if extent <= end:
            return
        allowed = largest * (end / extent) ** 3
        self.refusal = (
            f"Polarizabilities may grow to {largest:.3g} Å³ in this training, and their damping would then reach "
            f"{extent:.2f} Å; in periodic structures neighbours are summed to {end:.2f} Å ({FADE:g} of the cutoff). "
            f"Have the head of polarizabilities end below (largest: {0.99 * allowed:.3g}), or raise cutoff to "
            f"{cutoff_for(extent):.1f} Å."
        )

    def require(self, graph: AtomicGraph) -> None:
        """Raises ModelError where a batch has periodic structures and there is no room."""
        if self.refusal and bool(graph.pbc.any()):
            raise ModelError(self.refusal)

    def _extent(self, largest: float) -> float:
        sizes = torch.tensor([largest], dtype=torch.float64)
        return TholeDamping(sizes, self.strength, fields_only=True).extent(self.interaction.accuracy)
