"""Parts of a file that can be read by themselves, so that several processes share one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from eqff.data.records import Record


@dataclass(frozen=True)
class Piece:
    """Some frames of a file that follow each other.

    Attributes:
        first: Place of the first one in the file.
        records: Reads them. It goes to another process, so it is a function or a partial of one.
    """

    first: int
    records: Callable[[], Iterator[Record]]
