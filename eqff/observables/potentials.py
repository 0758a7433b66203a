"""The electrostatic potential that a predicted structure makes around itself."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from eqff.data.atomic_data import AtomicData
from eqff.data.batching import collate
from eqff.data.graph import graph_from_batch
from eqff.errors import ConfigError, ModelError
from eqff.longrange.multipoles.moments import Moments
from eqff.longrange.multipoles.points import potential_at

DIPOLES = ("atomic_dipoles", "induced_dipoles")
MOMENTS = ("charges", *DIPOLES, "atomic_quadrupoles")


def electrostatic_potential(frame: AtomicData, labels: Mapping[str, np.ndarray], points: np.ndarray) -> np.ndarray:
    """The potential in V, (P,), of charges, permanent and induced dipoles and quadrupoles that a model predicts.

    Args:
        frame: The structure, without periodicity.
        labels: Of its `Prediction`: "charges" (N,), and where the model has them "atomic_dipoles", "induced_dipoles"
            (N, 3) and "atomic_quadrupoles" (N, 3, 3). To leave a moment out, leave it out here.
        points: Å, (P, 3), away from the atoms.

    Raises:
        ConfigError: Points of another shape.
        ModelError: There are no moments, the structure is periodic, or a point lies on an atom.
    """
    places = torch.as_tensor(np.asarray(points, dtype=np.float64))
    if places.dim() != 2 or places.shape[1] != 3:
        raise ConfigError(f"points has the shape {tuple(places.shape)}; needed is (number of points, 3).")
    known = {name: torch.as_tensor(labels[name], dtype=torch.float64) for name in MOMENTS if name in labels}
    if not known:
        raise ModelError(
            "There are no moments to make a potential. Predict with labels=('charges', ...), by a model that has them."
        )
    dipoles: Tensor | None = None
    for name in DIPOLES:
        if name in known:
            dipoles = known[name] if dipoles is None else dipoles + known[name]
    moments = Moments(known.get("charges"), dipoles, known.get("atomic_quadrupoles"))
    first = torch.zeros(len(places), dtype=torch.int64)
    return potential_at(places, first, graph_from_batch(collate([frame]), torch.float64), moments).numpy()
