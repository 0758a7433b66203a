"""The file of a calibrated ensemble, ``ensemble.json``: which models, and by how much their spread is multiplied."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eqff.checkpoints import find_model_file
from eqff.checkpoints.atomic import replacing
from eqff.errors import ModelFileError
from eqff.registry.locate import locate
from eqff.uncertainty.digest import weights_digest
from eqff.uncertainty.ensemble import Ensemble

ENSEMBLE_FILE = "ensemble.json"
_FORMAT = 1


def save_ensemble(path: str | Path, ensemble: Ensemble, sources: Sequence[str | Path]) -> Path:
    """Writes an ensemble, whole or not at all.

    Args:
        path: Of the file.
        ensemble: With its scales.
        sources: Run folder or model file of each member. They are kept relative to the file, so that a folder with all
            of them can be moved, and with a digest of their weights.
    """
    path = Path(path)
    files = [find_model_file(locate(source).path).resolve() for source in sources]
    members = [
        {"path": Path(os.path.relpath(file, path.resolve().parent)).as_posix(), "weights": weights_digest(member)}
        for file, member in zip(files, ensemble.members, strict=True)
    ]
    content = {"format": _FORMAT, "members": members, "scales": list(ensemble.scales)}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def load_ensemble(path: str | Path, **settings: Any) -> Ensemble:
    """The ensemble of a file, calibrated as it was when it was written.

    Args:
        path: Of ``ensemble.json``.
        settings: Of `eqff.load`: ``dtype``, ``device``, ``packages``, ``trust_code``.

    Raises:
        ModelFileError: The file is damaged or none of these, or a member was trained further or replaced since.
        ModelError: A member can't be loaded.
    """
    path = Path(path).expanduser()
    content = _read(path)
    files = [path.parent / member["path"] for member in content["members"]]
    found = Ensemble.load(files, **settings)
    for member, stored, file in zip(found.members, content["members"], files, strict=True):
        if weights_digest(member) != stored["weights"]:
            raise ModelFileError(
                f"{path} was calibrated with other weights than those of {file}: the model was trained further or "
                "replaced. Calibrate it again (python -m eqff.uncertainty)."
            )
    energy, forces = content["scales"]
    return Ensemble(found.members, found.names, (energy, forces)).eval()


def _read(path: Path) -> dict[str, Any]:
    """The checked content of a file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelFileError(f"There is no {path}.") from error
    except (OSError, ValueError) as error:
        raise ModelFileError(
            f"{path} can't be read ({error}). Calibrate again (python -m eqff.uncertainty)."
        ) from error
    if not _is_ensemble(content):
        raise ModelFileError(
            f"{path} does not describe an ensemble (format {_FORMAT}). Calibrate again (python -m eqff.uncertainty)."
        )
    return content


def _is_ensemble(content: Any) -> bool:
    if not isinstance(content, Mapping) or content.get("format") != _FORMAT:
        return False
    members, scales = content.get("members"), content.get("scales")
    named = isinstance(members, list) and all(
        isinstance(m, Mapping) and isinstance(m.get("path"), str) and isinstance(m.get("weights"), str) for m in members
    )
    return (
        named
        and isinstance(scales, list)
        and len(scales) == 2
        and all(isinstance(scale, (int, float)) and 0 < scale < float("inf") for scale in scales)
    )
