"""What a run notes about itself besides its config, in ``run.json`` and in W&B."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eqff.evaluation.quantities import quantities
from eqff.potential import Potential
from eqff.tracking.data_identity import DataIdentity
from eqff.tracking.run_folder import provenance
from eqff.tracking.run_format import RUN_FORMAT


def about_run(potential: Potential, data_hash: str, units: Mapping[str, str]) -> dict[str, Any]:
    """Plain values.

    Args:
        potential: The model.
        data_hash: Of training and validation set.
        units: Of metrics.
    """
    parameters = sum(weight.numel() for weight in potential.parameters() if weight.requires_grad)
    shown = {quantity.name: quantity.unit for label in potential.predicts for quantity in quantities(label)}
    known = {"format": RUN_FORMAT, "data_hash": data_hash, "parameters": parameters}
    return provenance() | known | {"units": dict(units), "quantity_units": shown}


def about_run_and_data(about: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The same with what tells its data apart, read from its folder: W&B has no other place for that."""
    return {**about, "data": DataIdentity.read(folder).to_dict()}
