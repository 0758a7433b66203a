"""eqff: equivariant graph neural network force fields with charges, spins and long range."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eqff.build import allow as allow
    from eqff.uncertainty.loading import load as load

__all__ = ["allow", "load"]

# looked up on first use, so that `import eqff` and a command's --help don't wait for torch
_LAZY = {"allow": ("eqff.build", "allow"), "load": ("eqff.uncertainty.loading", "load")}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'eqff' has no attribute '{name}'")
    module, attribute = _LAZY[name]
    return getattr(importlib.import_module(module), attribute)
