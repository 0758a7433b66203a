"""Loading whatever a user names as "the model": one, or several as an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eqff.potential import Potential
    from eqff.uncertainty.composite import Composite


def load(model: str | Path | Sequence[str | Path], **settings: Any) -> Potential | Composite:
    """The model of a run folder or model file, or the ensemble of several.

    Args:
        model: One path or name, or a list of them. The path of ``uncertainty.safetensors`` in a run folder is the model
            there with its last-layer estimate.
        settings: Of `eqff.registry.loading.load`: ``dtype``, ``device``, ``packages``.

    Raises:
        ModelError: One can't be loaded, or they don't belong together.
    """
    if isinstance(model, (str, Path)):
        if Path(model).name == "uncertainty.safetensors":
            from eqff.uncertainty.estimate_file import load_estimate

            return load_estimate(model, **settings)
        from eqff.registry.loading import load as load_one

        return load_one(model, **settings)
    from eqff.uncertainty.ensemble import Ensemble

    return Ensemble.load(model, **settings)
