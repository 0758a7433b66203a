"""One hash for several sets of structures; by itself, because what compares runs needs no structures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def with_sizes(content: str, sizes: Iterable[int]) -> str:
    """The hash of sets, made of that of their structures in a row and of how many are in each.

    Args:
        content: Hash of all structures in their order, hexadecimal digits; moving the border between two sets leaves it
            as it is.
        sizes: Structures in each set.
    """
    return hashlib.sha256(" ".join([content, *map(str, sizes)]).encode()).hexdigest()
