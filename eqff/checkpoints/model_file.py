"""Model files: weights in safetensors, and in its metadata all that is needed to rebuild and use the model.

Nothing in a file is ever executed: no pickle, and every class that a file names is looked up by `eqff.build`, which
only builds eqff's own parts (and those of packages that the user has allowed by name).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from eqff.build import ModelContext, allow, build_potential
from eqff.checkpoints.atomic import replacing
from eqff.checkpoints.metadata import ModelMetadata
from eqff.checkpoints.upgrades import upgrade
from eqff.errors import ConfigError, ModelError
from eqff.potential import Potential

MODEL_FILE = "model.safetensors"
"""The name of the model file in a run folder."""

_KEY = "eqff"
_MAX_HEADER_BYTES = 16 * 2**20
_BUILD_ERRORS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def save_model(
    path: str | Path,
    potential: Potential,
    *,
    model_config: Mapping[str, Any],
    context: ModelContext,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a model file, whole or not at all.

    Args:
        path: Of the file; folders are made.
        potential: The model, on any device.
        model_config: The ``model`` config group from which `build_potential` made it.
        context: The context from which it was made.
        metadata: What is known about its training, as plain values: ``data_hash``, ``states``, ``metrics``...

    Raises:
        ModelError: A weight is NaN or infinite: training has diverged.
    """
    described = ModelMetadata.of(potential, model_config, context, metadata or {})
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in potential.state_dict().items()}
    _require_finite(tensors, "The model was not saved")
    text = json.dumps(described.to_dict(), allow_nan=False)
    if len(text) > _MAX_HEADER_BYTES // 2:
        raise ModelError(f"The model was not saved: its metadata takes {len(text)} bytes: leave data out of it.")
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt", _KEY: text})
    return Path(path)


def load_model(
    path: str | Path,
    *,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
    packages: tuple[str, ...] = (),
) -> Potential:
    """The model in a model file or run folder, ready for evaluation, with its ``metadata``.

    Args:
        path: The file, or a run folder that holds one.
        dtype: Another precision than the file's; constants of the model are then computed in it.
        device: Where it goes.
        packages: Names of your own packages whose parts the file may use.

    Raises:
        ModelError: Not a model file, damaged, too new, or made of parts that can't be built here.
    """
    path = find_model_file(path)
    header, tensors = upgrade(*_read(path), str(path))
    metadata = ModelMetadata.from_dict(header, str(path))
    for package in packages:
        allow(package)
    stored = getattr(torch, metadata.dtype)
    potential = _build(metadata, dtype or stored, path)
    _check_tensors(potential.state_dict(), tensors, stored, path)
    _require_finite(tensors, f"{path} can't be used")
    potential.load_state_dict(tensors)
    potential.metadata = metadata
    return potential.to(device).eval()


def read_metadata(path: str | Path) -> ModelMetadata:
    """What a model file says about its model, without building it.

    Raises:
        ModelError: Not a model file, damaged, or too new.
    """
    path = find_model_file(path)
    _check_start(path)
    header, _ = upgrade(_read_header(path), {}, str(path))
    return ModelMetadata.from_dict(header, str(path))


def find_model_file(path: str | Path) -> Path:
    """The model file at a path: the file itself, or the one in a run folder.

    Raises:
        ModelError: There is none; the message lists what is there instead.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return path
    if not path.exists():
        raise ModelError(f"There is no model at '{path}': give a model file or the folder of a finished run.")
    if (path / MODEL_FILE).is_file():
        return path / MODEL_FILE
    others = sorted(found.name for found in path.rglob("*.safetensors"))[:10]
    hint = f"It holds {', '.join(others)}: name one." if others else "Did the run finish?"
    raise ModelError(f"The folder '{path}' has no {MODEL_FILE}. {hint}")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    _check_start(path)
    header = _read_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            return header, {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise ModelError(f"{path} is damaged: {error}. Copy it again, or take an earlier file.") from error


def _read_header(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
    except SafetensorError as error:
        raise ModelError(f"{path} is damaged: {error}. Copy it again, or take an earlier file.") from error
    if text is None:
        raise ModelError(f"{path} is a safetensors file without eqff's metadata: it holds no eqff model.")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: its metadata is no JSON ({error}).") from error
    if not isinstance(header, dict):
        raise ModelError(f"{path}: its metadata is no JSON object.")
    return header


def _check_start(path: Path) -> None:
    """Refuses by the first eight bytes what is no safetensors file, or claims a header that can't be there."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    if len(start) == 9 and start[8:] != b"{":
        raise ModelError(
            f"{path} is no safetensors file. eqff reads its own model files only, and never unpickles; "
            f"a run's model is called {MODEL_FILE}."
        )
    if len(start) < 9 or length > size - 8:
        raise ModelError(f"{path} is cut off: it has {size} bytes, its header alone needs {length + 8}. Copy it again.")
    if length > _MAX_HEADER_BYTES:
        raise ModelError(f"{path} claims a header of {length} bytes; more than {_MAX_HEADER_BYTES} is not read.")


def _build(metadata: ModelMetadata, dtype: torch.dtype, path: Path) -> Potential:
    try:
        return build_potential(metadata.model_config, metadata.model_context(), dtype)
    except (ConfigError, ModelError) as error:
        raise ModelError(f"{path} can't be rebuilt here: {error}") from error
    except _BUILD_ERRORS as error:
        raise ModelError(f"{path} can't be rebuilt here; its config does not fit this eqff: {error!r}") from error


def _check_tensors(own: Mapping[str, Tensor], stored: Mapping[str, Tensor], dtype: torch.dtype, path: Path) -> None:
    missing, extra = sorted(own.keys() - stored.keys()), sorted(stored.keys() - own.keys())
    if missing or extra:
        raise ModelError(
            f"{path} does not fit the model that its config describes: {_count(missing, 'missing')}, "
            f"{_count(extra, 'unknown')}."
        )
    for name, tensor in own.items():
        if tensor.shape != stored[name].shape:
            raise ModelError(f"{path}: '{name}' has shape {list(stored[name].shape)}, not {list(tensor.shape)}.")
        allowed = {tensor.dtype, dtype} if tensor.is_floating_point() else {tensor.dtype}
        if stored[name].dtype not in allowed:
            raise ModelError(f"{path}: '{name}' is {stored[name].dtype}, not {tensor.dtype}.")


def _count(names: list[str], word: str) -> str:
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} tensors {word}" + (f" ({shown})" if names else "")


def _require_finite(tensors: Mapping[str, Tensor], consequence: str) -> None:
    broken = [name for name, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise ModelError(f"{consequence}: {_count(broken, 'hold NaN or infinity')}. Training has diverged.")
