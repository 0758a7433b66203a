"""Loading whatever a user names as "the model": one, several as an ensemble, or one whose uncertainty is on file."""

from __future__ import annotations

from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqff.errors import ModelError

if TYPE_CHECKING:
    from eqff.potential import Potential
    from eqff.uncertainty.composite import Composite

_MODEL = "model.safetensors"


def load(
    model: str | Path | Sequence[str | Path], *, trust_code: bool = False, **settings: Any
) -> Potential | Composite:
    """The model of a run folder or model file, or the ensemble of several.

    Args:
        model: One path or name, or a list of them; a pattern such as ``runs/a/seed*`` stands for all models that it
            matches. ``uncertainty.safetensors`` in a run folder is the model there with its last-layer estimate, and
            ``ensemble.json``, or a folder that holds it and no model, a calibrated ensemble. A ``.pt2`` file is a model
            that was compiled ahead of time, see `eqff.export`.
        trust_code: Needed for ``.pt2`` files: they hold machine code, which runs once loaded. Nothing else does.
        settings: Of `eqff.registry.loading.load`: ``dtype``, ``device``, ``packages``.

    Raises:
        ModelError: One can't be loaded, or they don't belong together; a pattern matches none.
    """
    found = members_of(model)
    if isinstance(found, list):
        from eqff.uncertainty.ensemble import Ensemble

        return Ensemble.load(found, **settings)
    if Path(found).suffix == ".pt2":
        from eqff.export.loading import load_exported

        return load_exported(found, trust_code=trust_code, **settings)
    return _loader(Path(found).name)(found, **settings)


def members_of(model: str | Path | Sequence[str | Path]) -> str | Path | list[str | Path]:
    """What a model's name stands for: one path or name, or the list of an ensemble's.

    Raises:
        ModelError: A pattern matches no model.
    """
    if not isinstance(model, (str, Path)):
        return list(model)
    if any(sign in str(model) for sign in "*?[") and not Path(model).exists():
        return _matching(str(model))
    path = Path(model).expanduser()
    if (path / "ensemble.json").is_file() and not (path / _MODEL).is_file():
        return path / "ensemble.json"
    return model


def _matching(pattern: str) -> list[str | Path]:
    paths = [Path(name) for name in sorted(glob(str(Path(pattern).expanduser())))]
    models: list[str | Path] = [path for path in paths if (path / _MODEL).is_file() or path.suffix == ".safetensors"]
    if not models:
        raise ModelError(f"'{pattern}' matches no run folder with a model, and no model file.")
    return models


def _loader(name: str) -> Any:
    """What loads a file of this name."""
    if name == "uncertainty.safetensors":
        from eqff.uncertainty.estimate_file import load_estimate

        return load_estimate
    if name == "ensemble.json":
        from eqff.uncertainty.ensemble_file import load_ensemble

        return load_ensemble
    from eqff.registry.loading import load as load_one

    return load_one
