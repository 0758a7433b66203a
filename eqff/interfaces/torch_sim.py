"""eqff models in torch-sim: molecular dynamics and relaxations of many structures in one batch, on a GPU or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from torch import Tensor

from eqff.corrections import corrected
from eqff.data.convert import Multiplicity
from eqff.errors import ModelError
from eqff.interfaces.ase import as_potential
from eqff.interfaces.batched.model import BatchedModel
from eqff.interfaces.batched.states import BatchStates
from eqff.interfaces.graphs import require_precision
from eqff.interfaces.state import STATE, stated
from eqff.outside import Outside, outside_rule
from eqff.potential import Potential

try:
    from torch_sim.models.interface import ModelInterface

    _MISSING = None
except ImportError as error:  # said when a model is made, so that this can be imported without
    ModelInterface, _MISSING = torch.nn.Module, error

_DERIVATIVES = ("energy", "forces", "stress", "virial")


class EqffModel(ModelInterface):
    """A model for torch-sim, all structures of a state in one call.

    Results are energy (B,) in eV, float64 whatever the precision of the model; forces (N, 3) in eV/Å; stress (B, 3, 3)
    in eV/Å³, zero for molecules; and every field that the model predicts, under its name in eqff.

    Args:
        potential: A model, which is moved where the other arguments say, or where to find one (see `eqff.load`); a list
            makes an ensemble.
        total_charge: e, of all structures, or a sequence with that of each; None where states have it among their
            extras, under this name or another that ``info`` of ASE may have (``charge``). Nothing is guessed.
        multiplicity: 2S+1, of all structures or of each; None where states have it, as ``total_charge``. "lowest" is
            the lowest that the electron count allows.
        systems: All structures that there will be, in the order of these sequences, where one state is not for all;
            their ``info`` may state charge and multiplicity too. See `BatchStates`.
        device: Where to compute; by default where the potential is. States have to be there too.
        dtype: Precision, and that of states; by default that of the potential.
        compute_forces: Whether to differentiate.
        compute_stress: Whether to give the stress too.
        skin: Å beyond the cutoffs within which pairs are searched, so that a search serves several steps; results don't
            depend on it.
        corrections: Whether energy terms that the model was not trained with (``model.corrections``) are added.
        outside: What happens on a charge and spin state that training had not; see `EqffCalculator`.

    Attributes:
        batched: What computes; ``batched.neighbours.searches`` counts searches of single structures.

    Raises:
        ModelError: torch-sim is not installed. What can be wrong with a state, `BatchedModel` says.
    """

    def __init__(
        self,
        potential: Potential | str | Path | Sequence[str | Path],
        *,
        total_charge: float | Sequence[float] | Tensor | None = None,
        multiplicity: Multiplicity | Sequence[Multiplicity] | Tensor | None = None,
        systems: Sequence[Atoms] | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        compute_forces: bool = True,
        compute_stress: bool = True,
        skin: float = 0.5,
        corrections: bool = True,
        outside: Outside | None = None,
    ):
        if _MISSING is not None:
            raise ModelError(
                f"EqffModel needs torch-sim, which can't be imported ({_MISSING}): pip install 'eqff[torch-sim]'."
            )
        super().__init__()
        potential = as_potential(potential, device, dtype)
        require_precision(potential.dtype)
        self.potential = corrected(potential) if corrections else potential
        states = BatchStates(total_charge, multiplicity, systems)
        self.batched = BatchedModel(self.potential, states, skin, outside_rule(self.potential, outside))
        self._dtype, self._device = self.potential.dtype, self.batched.device
        self._compute_forces, self._compute_stress = compute_forces, compute_stress
        self._memory_scales_with = "n_atoms_x_density"

    @property
    def compute_forces(self) -> bool:
        """Whether forces are computed."""
        return self._compute_forces

    @compute_forces.setter
    def compute_forces(self, compute_forces: bool) -> None:
        self._compute_forces = compute_forces

    @property
    def compute_stress(self) -> bool:
        """Whether stresses are computed, beside forces."""
        return self._compute_stress

    @compute_stress.setter
    def compute_stress(self, compute_stress: bool) -> None:
        self._compute_stress = compute_stress

    def forward(self, state: Any, **_: Any) -> dict[str, Tensor]:
        """Energies, forces, stresses and all that the model predicts.

        Args:
            state: A ``SimState``, or a dict of its tensors; it is not changed.
        """
        stress = self.compute_forces and self.compute_stress
        prediction = self.batched(structures_of(state), forces=self.compute_forces, stress=stress)
        fields = [name for name in self.potential.predicts if name not in _DERIVATIVES]
        wanted = ["energy", *["forces"] * self.compute_forces, *["stress"] * stress, *fields]
        return {name: prediction[name].detach() for name in (*wanted, *self.potential.uncertainties)}


def structures_of(state: Any) -> dict[str, Tensor]:
    """What `BatchedModel` is given for a ``SimState`` or a dict of its tensors.

    torch-sim keeps lattice vectors as columns, and one periodicity for all structures. What else a state has (its
    extras) is read where it is about charge and multiplicity, under the names that ``info`` of ASE may have for them.
    """
    value = state.get if isinstance(state, Mapping) else partial(getattr, state)
    positions, cell, batch = value("positions"), value("cell").reshape(-1, 3, 3).mT, value("system_idx", None)
    if batch is None:
        batch = torch.zeros(len(positions), dtype=torch.int64, device=positions.device)
    pbc = torch.as_tensor(value("pbc"), dtype=torch.bool, device=positions.device)
    extras = state if isinstance(state, Mapping) else getattr(state, "_system_extras", {})  # torch-sim 0.6 has them
    names = {*STATE, *stated(extras)}
    said = {name: torch.as_tensor(value(name, None)) for name in names if value(name, None) is not None}
    return said | {
        "numbers": value("atomic_numbers").to(torch.int64),
        "batch": batch.to(torch.int64),
        "pbc": pbc.expand(len(cell), 3),
        "positions": positions,
        "cell": cell,
    }
