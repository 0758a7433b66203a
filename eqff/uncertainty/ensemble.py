"""Several trained models as one: their mean is the prediction, their spread its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eqff.corrections import corrected
from eqff.data.external import EXTERNAL_FORCES, EXTERNAL_POTENTIAL
from eqff.data.graph import AtomicGraph
from eqff.potential import Potential
from eqff.uncertainty.agreement import common_metadata, require_agreement, require_different
from eqff.uncertainty.composite import Composite


class Ensemble(Composite):
    """The mean of several models, with the standard deviation between them as uncertainty.

    Means are taken of energies, forces, stress and every field that all members predict; forces and stress are the
    derivatives of the mean energy. Uncertainties [Lakshminarayanan et al., NeurIPS 30 (2017)]:

    - ``energy_uncertainty`` (B,) eV: standard deviation (with K-1) of the structure's energy over the K members;
    - ``forces_uncertainty`` (N,) eV/Å: that of a component of the atom's force, the root mean square over the three
      components, so that it does not turn with the frame.

    Both are multiplied by ``scales``. One member alone has no spread: zero.

    Args:
        members: The models.
        names: Of each, for messages; by default their numbers.
        scales: Factors on the uncertainties of energies and forces, from calibration.

    Raises:
        ModelError: Members whose energies can't be averaged.
    """

    def __init__(
        self,
        members: Sequence[Potential],
        names: Sequence[str] | None = None,
        scales: tuple[float, float] = (1.0, 1.0),
    ):
        names = names or [f"member {index}" for index in range(len(members))]
        require_agreement(members, names)
        super().__init__(members, common_metadata(members))
        self.names, self.scales = tuple(names), scales

    @classmethod
    def load(cls, paths: Sequence[str | Path], **settings: Any) -> Ensemble:
        """The ensemble of models in run folders or model files, or known by name.

        Args:
            paths: Where they are, see `eqff.load`.
            settings: Of `eqff.load`: ``dtype``, ``device``, ``packages``, ``trust_code``.

        Raises:
            ModelError: One can't be loaded, they don't belong together, or two are the same.
        """
        from eqff.uncertainty.loading import load_one

        names = [str(path) for path in paths]
        members = [load_one(path, **settings) for path in paths]
        require_different(members, names)
        return cls(members, names).eval()

    def with_members(self, members: Sequence[Potential]) -> Ensemble:
        """See `Composite`."""
        return Ensemble(members, self.names, self.scales).train(self.training)

    def energy(self, graph: AtomicGraph) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean energies (B,) in eV, float64, and mean fields, with ``energy_uncertainty``."""
        found = [fields | {"energy": energy} for energy, fields in (member.energy(graph) for member in self.members)]
        combined = self._combined(found)
        return combined.pop("energy"), combined

    def forward(
        self, graph: AtomicGraph, *, forces: bool = True, stress: bool = False, create_graph: bool | None = None
    ) -> dict[str, Tensor]:
        """The mean prediction with its uncertainties; arguments and errors as of `Potential.forward`."""
        found = [member(graph, forces=forces, stress=stress, create_graph=create_graph) for member in self.members]
        return self._combined(found)

    def _combined(self, found: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Means of all that is asked of a potential, and the spread."""
        mean = {
            name: torch.stack([prediction[name] for prediction in found]).mean(dim=0)
            for name in (*self.predicts, *self.per_pass, EXTERNAL_FORCES, EXTERNAL_POTENTIAL)
            if all(name in prediction for prediction in found)
        }
        energy = found[0]["energy"]
        for term in (f"energy_{name}" for name in self.terms):  # a member without the term has none of its energy
            mean[term] = torch.stack([prediction.get(term, torch.zeros_like(energy)) for prediction in found]).mean(
                dim=0
            )
        mean["energy_uncertainty"] = self.scales[0] * spread([prediction["energy"] for prediction in found])
        if "forces" in mean:
            of_components = spread([prediction["forces"] for prediction in found])
            mean["forces_uncertainty"] = self.scales[1] * of_components.square().mean(dim=1).sqrt()
        return mean


def spread(values: Sequence[Tensor]) -> Tensor:
    """Standard deviation (with K-1) over K tensors, element by element, float64; zeros for one alone."""
    stacked = torch.stack([value.detach().to(torch.float64) for value in values])
    return stacked.std(dim=0, correction=1) if len(values) > 1 else torch.zeros_like(stacked[0])


@corrected.register
def _corrected_composite(potential: Composite) -> Composite:
    """Each member with its own corrections."""
    members = [corrected(member) for member in potential.members]
    same = all(new is old for new, old in zip(members, potential.members, strict=True))
    return potential if same else potential.with_members(members)
