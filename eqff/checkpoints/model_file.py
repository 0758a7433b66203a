"""Model files: weights in safetensors, and in its metadata all that is needed to rebuild and use the model.

Nothing in a file is ever executed: no pickle, and every class that a file names is looked up by `eqff.construct`, which
only builds eqff's own parts (and those of packages that the user has allowed by name). docs/model_files.md lists what
is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eqff.build import ModelContext, allow, build_potential
from eqff.checkpoints.container import read_container, write_container
from eqff.checkpoints.limits import BuildLimits, check_cutoffs, check_integers
from eqff.checkpoints.metadata import DTYPES, ModelMetadata
from eqff.checkpoints.upgrades import upgrade
from eqff.errors import ConfigError, ModelError, ModelFileError, did_you_mean
from eqff.potential import Potential

MODEL_FILE = "model.safetensors"
"""The name of the model file in a run folder."""

_LEVELS = 3
"""How deep a folder is searched for other model files: a home is not walked through for a misspelt path."""

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
    return write_container(path, described.to_dict(), tensors)


def load_model(
    path: str | Path,
    *,
    dtype: torch.dtype | str | None = None,
    device: str | torch.device = "cpu",
    packages: tuple[str, ...] = (),
) -> Potential:
    """The model in a model file or run folder, ready for evaluation, with its ``metadata``.

    Args:
        path: The file, or a run folder that holds one.
        dtype: Another precision than the file's, "float32" or "float64"; constants are then computed in it.
        device: Where it goes.
        packages: Names of your own packages whose parts the file may use.

    Raises:
        ConfigError: ``dtype`` is none.
        ModelFileError: Not a model file, damaged, too new, or made of parts that can't be built here.
    """
    wanted = None if dtype is None else as_dtype(dtype)
    path = find_model_file(path)
    container = read_container(path)
    header, tensors = upgrade(container.header, container.tensors, str(path))
    metadata = ModelMetadata.from_dict(header, str(path))
    for package in packages:
        allow(package)
    stored = as_dtype(metadata.dtype)
    potential = _build(metadata, wanted or stored, tensors, path)
    check_cutoffs(potential.neighbour_lists, str(path))
    _check_tensors(potential.state_dict(), tensors, stored, path)
    _require_finite(tensors, f"{path} can't be used", ModelFileError)
    potential.load_state_dict(tensors)
    potential.metadata = metadata
    return potential.to(device).eval()


def as_dtype(name: torch.dtype | str) -> torch.dtype:
    """A precision that models can have, by its name or itself.

    Raises:
        ConfigError: Names what there is.
    """
    word = str(name).removeprefix("torch.")
    if word not in DTYPES:
        raise ConfigError(f"dtype can't be {name!r}.{did_you_mean(word, DTYPES)}")
    return getattr(torch, word)


def read_metadata(path: str | Path) -> ModelMetadata:
    """What a model file says about its model, without building it or reading its weights.

    Raises:
        ModelFileError: Not a model file, damaged, or too new.
    """
    path = find_model_file(path)
    header, _ = upgrade(read_container(path, with_tensors=False).header, {}, str(path))
    return ModelMetadata.from_dict(header, str(path))


def find_model_file(path: str | Path) -> Path:
    """The model file at a path: the file itself, or the one in a run folder.

    Raises:
        ModelFileError: There is none; the message lists what is there instead.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return path
    if not path.exists():
        raise ModelFileError(f"There is no model at '{path}': give a model file or the folder of a finished run.")
    if not path.is_dir():
        raise ModelFileError(f"'{path}' is no regular file: give a model file or the folder of a finished run.")
    if (path / MODEL_FILE).is_file():
        return path / MODEL_FILE
    found = (each for level in range(_LEVELS) for each in path.glob(f"{'*/' * level}*.safetensors"))
    others = [str(each.relative_to(path)) for each in sorted(islice(found, 10))]
    hint = f"It holds {', '.join(others)}: name one." if others else "Did the run finish?"
    raise ModelFileError(f"The folder '{path}' has no {MODEL_FILE}. {hint}")


def _build(metadata: ModelMetadata, dtype: torch.dtype, tensors: Mapping[str, Tensor], path: Path) -> Potential:
    check_integers(metadata.model_config, f"{path}: model")
    numbers = sum(tensor.numel() for tensor in tensors.values())
    try:
        with BuildLimits(numbers, len(tensors), str(path)):
            return build_potential(metadata.model_config, metadata.model_context(), dtype)
    except ModelFileError:
        raise
    except (ConfigError, ModelError) as error:
        raise ModelFileError(f"{path} can't be rebuilt here: {error}") from error
    except _BUILD_ERRORS as error:
        raise ModelFileError(f"{path} can't be rebuilt here; its config does not fit this eqff: {error!r}") from error


def _check_tensors(own: Mapping[str, Tensor], stored: Mapping[str, Tensor], dtype: torch.dtype, path: Path) -> None:
    missing, extra = sorted(own.keys() - stored.keys()), sorted(stored.keys() - own.keys())
    if missing or extra:
        raise ModelFileError(
            f"{path} does not fit the model that its config describes: {_count(missing, 'missing')}, "
            f"{_count(extra, 'unknown')}."
        )
    for name, tensor in own.items():
        if tensor.shape != stored[name].shape:
            raise ModelFileError(f"{path}: '{name}' has shape {list(stored[name].shape)}, not {list(tensor.shape)}.")
        allowed = {tensor.dtype, dtype} if tensor.is_floating_point() else {tensor.dtype}
        if stored[name].dtype not in allowed:
            raise ModelFileError(f"{path}: '{name}' is {stored[name].dtype}, not {tensor.dtype}.")


def _count(names: list[str], word: str) -> str:
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} tensors {word}" + (f" ({shown})" if names else "")


def _require_finite(tensors: Mapping[str, Tensor], consequence: str, error: type[ModelError] = ModelError) -> None:
    broken = [name for name, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise error(f"{consequence}: {_count(broken, 'hold NaN or infinity')}. Training has diverged.")
