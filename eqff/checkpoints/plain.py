"""Values of configs and metrics as plain JSON: numbers, strings, lists and dicts, nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, ListConfig, OmegaConf

from eqff.errors import ConfigError


@singledispatch
def plain(value: Any) -> Any:
    """The value as JSON can hold it; numbers that are not finite become null, as strict JSON has no word for them.

    Raises:
        ConfigError: The type has no plain form.
    """
    if value is None:
        return None
    raise ConfigError(f"{value!r} ({type(value).__name__}) can't be stored as text; give a number, string or list.")


@plain.register(bool)
@plain.register(int)
@plain.register(str)
def _same(value: Any) -> Any:
    return value


@plain.register(float)
def _float(value: float) -> float | None:
    return value if math.isfinite(value) else None


@plain.register(Path)
@plain.register(torch.dtype)
def _text(value: Any) -> str:
    return str(value)


@plain.register(Mapping)
def _mapping(value: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key): plain(item) for key, item in value.items()}


@plain.register(list)
@plain.register(tuple)
@plain.register(set)
def _sequence(value: Any) -> list[Any]:
    return [plain(item) for item in value]


@plain.register(DictConfig)
@plain.register(ListConfig)
def _config(value: Any) -> Any:
    return plain(OmegaConf.to_container(value, resolve=True))


@plain.register(np.generic)
def _numpy_scalar(value: np.generic) -> Any:
    return plain(value.item())


@plain.register(np.ndarray)
@plain.register(torch.Tensor)
def _array(value: Any) -> Any:
    return plain(value.tolist())
