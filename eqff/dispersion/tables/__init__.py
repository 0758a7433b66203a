"""The published numbers behind DFT-D3 and DFT-D4; README.md beside this says where they are from, and their licence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor

from eqff.errors import ConfigError


@cache
def table(name: str) -> Mapping[str, Tensor]:
    """The tensors of ``elements``, ``d3`` or ``d4``; what is per element has its atomic number as index."""
    with resources.as_file(resources.files(__name__) / f"{name}.npz") as path, np.load(path) as file:
        return MappingProxyType({key: torch.from_numpy(np.array(file[key])) for key in file.files})


@cache
def functionals() -> Mapping[str, Any]:
    """Damping parameters by method and functional, and under ``aliases`` other names of functionals."""
    text = (resources.files(__name__) / "functionals.json").read_text(encoding="utf-8")
    return MappingProxyType(json.loads(text))


def rows(values: Tensor, elements: Sequence[int]) -> Tensor:
    """The rows of a table for some elements, in their order, floating numbers as float64.

    Raises:
        ConfigError: An element that the table does not have.
    """
    beyond = [z for z in elements if z >= len(values)]
    if beyond:
        names = ", ".join(f"{chemical_symbols[z]} (Z={z})" for z in beyond)
        raise ConfigError(
            f"DFT-D3 and DFT-D4 have no references for {names}: their tables end at Z = {len(values) - 1}. Leave the "
            "term out, or take data without these elements."
        )
    chosen = values[torch.tensor(list(elements))]
    return chosen.to(torch.float64) if chosen.is_floating_point() else chosen
