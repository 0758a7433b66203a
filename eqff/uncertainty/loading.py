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
_EXPORTED = ".pt2"


def load(
    model: str | Path | Sequence[str | Path], *, trust_code: bool = False, **settings: Any
) -> Potential | Composite:
    """The model of a run folder or model file, or the ensemble of several.

    Args:
        model: One path or name, or a list of them; a pattern such as ``runs/a/seed*`` stands for all models that it
            matches, or for exported ones where it ends in ``.pt2``. ``uncertainty.safetensors`` in a run folder is the
            model there with its last-layer estimate, and ``ensemble.json``, or a folder that holds it and no model, a
            calibrated ensemble. A ``.pt2`` file is a model that was compiled ahead of time, see `eqff.export`.
        trust_code: Needed for ``.pt2`` files: they hold machine code, which runs once loaded. Nothing else does.
        settings: Of `eqff.registry.loading.load`: ``dtype``, ``device``, ``packages``.

    Raises:
        ModelError: One can't be loaded, or they don't belong together; a pattern matches none.
    """
    found = members_of(model)
    if isinstance(found, list):
        from eqff.uncertainty.ensemble import Ensemble

        return Ensemble.load(found, trust_code=trust_code, **settings)
    if Path(found).name == "ensemble.json":
        from eqff.uncertainty.ensemble_file import load_ensemble

        return load_ensemble(found, trust_code=trust_code, **settings)
    if Path(found).name == "uncertainty.safetensors":
        from eqff.uncertainty.estimate_file import load_estimate

        return load_estimate(found, **settings)
    return load_one(found, trust_code=trust_code, **settings)


def load_one(model: str | Path, *, trust_code: bool = False, **settings: Any) -> Potential:
    """One model, from a model file, run folder, name or address, or compiled ahead of time; see `load`."""
    if Path(model).suffix == _EXPORTED:
        from eqff.export.loading import load_exported

        return load_exported(model, trust_code=trust_code, **settings)
    from eqff.registry.loading import load as load_file

    return load_file(model, **settings)


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
    # exported models are model files again, for which a pattern must ask; estimates are no models of their own
    suffix = _EXPORTED if pattern.endswith(_EXPORTED) else ".safetensors"
    files = [path for path in paths if path.suffix == suffix and path.name != "uncertainty.safetensors"]
    models: list[str | Path] = [path for path in paths if (path / _MODEL).is_file() or path in files]
    if not models:
        raise ModelError(f"'{pattern}' matches no run folder with a model, and no model file.")
    return models
