"""The uncertainty of one model from the covariance of its last-layer features, without an ensemble (LLPR)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.corrections import corrected  # noqa: F401  composites are registered with it in eqff.uncertainty.ensemble
from eqff.data.graph import AtomicGraph
from eqff.errors import ModelError
from eqff.nn.reduce import segment_sum
from eqff.potential import Potential
from eqff.terms.local import LocalEnergy
from eqff.uncertainty.composite import Composite

_SEED = 0  # of the drawn weights: the same model always says the same


@dataclass(frozen=True)
class Posterior:
    """What training data leave open of a last layer of D weights.

    Attributes:
        root: (D, D) float64; root rootᵀ = (sum_A F_A F_Aᵀ / N_A² + s² 1)⁻¹, with F_A the features of training structure
            A, summed over its N_A atoms.
        scales: Factors on the uncertainties of energies and forces, from calibration.
        samples: Drawn weights, from which uncertainties of forces are taken.
    """

    root: Tensor
    scales: tuple[float, float] = (1.0, 1.0)
    samples: int = 32


class LastLayerEstimate(Composite):
    """A model with an uncertainty from the features of its last layer.

    The readout of the local energy is linear in its last layer f_i (`eqff.terms.local.LocalEnergy.last_layer`), so to
    second order of the loss its weights have the covariance a² (sum_A F_A F_Aᵀ/N_A² + s² 1)⁻¹ [Bigi, Chong, Ceriotti &
    Grasselli, Mach. Learn.: Sci. Technol. 5, 045018 (2024)]. It follows for a structure with F = sum_i f_i

    - ``energy_uncertainty`` (B,) eV: a |rootᵀ F|;
    - ``forces_uncertainty`` (N,) eV/Å: the root mean square, over components and drawn last layers w, of the forces
      - w·dF/dr_i. With K draws its relative error is about 1/sqrt(6 K), 7 % for 32.

    Energy, forces and all fields are those of the model. What other terms (charges, dispersion) don't know is left out.
    Energies cost a matrix product more; forces K more backward passes.

    Args:
        potential: The model.
        posterior: From `eqff.uncertainty.fitting`.

    Raises:
        ModelError: The model has no local energy with a last layer, or one of another size.
    """

    def __init__(self, potential: Potential, posterior: Posterior):
        super().__init__([potential], potential.metadata)
        self.posterior = posterior
        self._term = local_term(potential)
        size = self._term.last_layer_size
        if posterior.root.shape != (size, size):
            raise ModelError(
                f"The last-layer estimate is for {posterior.root.shape[0]} features, the model has {size}: it belongs "
                "to another model. Fit it again."
            )
        draws = torch.randn(
            size, posterior.samples, generator=torch.Generator().manual_seed(_SEED), dtype=torch.float64
        )
        self._root = posterior.root.to(torch.float64)
        self._weights = self._root @ draws  # kept out of the buffers: they stay float64 whatever the model's precision

    def with_members(self, members: list[Potential]) -> LastLayerEstimate:
        """See `Composite`."""
        return LastLayerEstimate(members[0], self.posterior).train(self.training)

    def energy(self, graph: AtomicGraph) -> tuple[Tensor, dict[str, Tensor]]:
        """Energies (B,) in eV and fields of the model, with ``energy_uncertainty``."""
        energy, fields = self.members[0].energy(graph)
        return energy, fields | {"energy_uncertainty": self._of_energies(self.features(graph, fields))}

    def forward(
        self, graph: AtomicGraph, *, forces: bool = True, stress: bool = False, create_graph: bool | None = None
    ) -> dict[str, Tensor]:
        """The model's prediction with its uncertainties; arguments and errors as of `Potential.forward`."""
        prediction = self.members[0](graph, forces=forces, stress=stress, create_graph=create_graph)
        if not forces:
            return prediction | {"energy_uncertainty": self._of_energies(self.features(graph, prediction))}
        with torch.enable_grad():
            positions = graph.positions.detach().requires_grad_()
            moved = graph.deformed(positions)
            features = self.features(moved, self.members[0].energy(moved)[1])
            energies = (features @ self._weights.to(features.device)).sum(dim=0)
            slopes = [torch.autograd.grad(energy, positions, retain_graph=True)[0] for energy in energies]
        variance = torch.stack(slopes).to(torch.float64).square().mean(dim=(0, 2))
        of_forces = self.posterior.scales[1] * variance.sqrt()
        return prediction | {"energy_uncertainty": self._of_energies(features), "forces_uncertainty": of_forces}

    def features(self, graph: AtomicGraph, fields: dict[str, Tensor]) -> Tensor:
        """Last-layer features of each structure, (B, D) float64."""
        return structure_features(self._term, graph, fields)

    def _of_energies(self, features: Tensor) -> Tensor:
        return self.posterior.scales[0] * torch.linalg.vector_norm(
            features.detach() @ self._root.to(features.device), dim=1
        )


def local_term(potential: Potential) -> LocalEnergy:
    """The term whose last layer is looked at.

    Raises:
        ModelError: There is none, or several.
    """
    found = [term for term in potential.terms.values() if isinstance(term, LocalEnergy)]
    if len(found) != 1:
        raise ModelError(
            f"A last-layer estimate needs a model with one local energy; this one has {len(found)} among its terms "
            f"({', '.join(potential.terms)}). Train an ensemble instead."
        )
    return found[0]


def structure_features(term: LocalEnergy, graph: AtomicGraph, fields: dict[str, Tensor]) -> Tensor:
    """Sums over atoms of the last-layer features, (B, D) float64."""
    return segment_sum(term.last_layer(fields).to(torch.float64), graph.batch, graph.num_structures)
