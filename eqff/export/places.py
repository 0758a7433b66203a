"""What compilers leave of the machine in code: the paths of its folders, which are nobody's business elsewhere."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch

_SHORTEST = 4  # bytes; fewer could be code


def folders() -> tuple[str, ...]:
    """Those that compilers of PyTorch's code see: the home, temporary files, Python's and PyTorch's, their cache."""
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    torch_itself = Path(torch.__file__).parent
    found = (cache_dir(), tempfile.gettempdir(), torch_itself, sys.prefix, sys.base_prefix, Path.home(), Path.cwd())
    places = {str(place) for each in found for place in (Path(each), Path(each).resolve())}
    return tuple(sorted((place for place in places if len(place) >= _SHORTEST), key=len, reverse=True))


def without_folders(code: bytes, places: Iterable[str]) -> bytes:
    """Machine code in which texts that begin with a folder have the last part of the path alone.

    Such texts are what the compiler says of an error's place; no length and no other byte changes.

    Args:
        code: Of a library.
        places: The folders.
    """
    for place in places:
        code = re.sub(re.escape(place.encode()) + rb"(?:/[\x20-\x7e]*)?(?=\x00)", _last, code)
    return code


def _last(found: re.Match[bytes]) -> bytes:
    text = found[0]
    name = text.rsplit(b"/", 1)[1]
    return b"." + b"/" * (len(text) - 1 - len(name)) + name
