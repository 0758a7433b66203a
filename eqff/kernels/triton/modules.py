"""Python modules that a program wrote, kept in the cache: Triton reads a kernel's source from a file."""

from __future__ import annotations

import hashlib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from eqff.kernels.library import in_cache


def written_module(name: str, text: str) -> ModuleType:
    """Imports a text as a module.

    Args:
        name: Begins the file's name, which goes on with a digest of the text.
        text: Its source.

    Raises:
        OSError: The cache can't be written.
    """
    unique = f"{name}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    path = in_cache(f"{unique}.py", lambda made: Path(made).write_text(text, encoding="utf-8"))
    spec = spec_from_file_location(f"eqff_{unique}", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
