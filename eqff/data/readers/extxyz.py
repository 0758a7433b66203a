"""Extended XYZ, plain or compressed."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from ase import Atoms
from ase.io.extxyz import XYZError, read_xyz

from eqff.data.readers.pieces import Piece
from eqff.data.records import Record, record_from_ase

_BLOCK = 64  # frames that are in memory as text


def read_extxyz(path: Path) -> Iterator[Record]:
    """The frames of an extxyz file, one after the other.

    Some frames' text at a time is handed to ASE, because ASE wants to seek: on a gzip stream that is about 30 times
    slower, and the whole text may not fit into memory.
    """
    return read_piece(path, 0, None)


def read_piece(path: Path, offset: int, count: int | None) -> Iterator[Record]:
    """So many frames (None: all) from a byte on, at which a frame begins."""
    with _open(path) as file:
        file.seek(offset)
        frames = FrameTexts(file)
        while count is None or count > 0:
            texts = frames.take(_BLOCK if count is None else min(_BLOCK, count))
            if not texts:
                return
            yield from map(record_from_ase, _parse(texts))
            count = None if count is None else count - len(texts)


def _parse(texts: list[bytes]) -> Iterator[Atoms]:
    """The structures of some frames; if ASE can't read them together, one by one, so that the right frame is blamed."""
    try:
        yield from list(read_xyz(io.StringIO(b"".join(texts).decode()), index=slice(None)))
    except (XYZError, ValueError, KeyError, IndexError):
        for text in texts:
            yield from read_xyz(io.StringIO(text.decode()), index=slice(None))


def split_extxyz(path: Path, size: int) -> list[Piece]:
    """Pieces of at most ``size`` frames; a compressed file is one piece, for it can be read from its beginning only."""
    if _is_compressed(path):
        return [Piece(0, partial(read_extxyz, path))]
    pieces, first = [], 0
    with _open(path) as file:
        frames = FrameTexts(file)
        while True:
            offset = frames.position
            count = sum(1 for _ in frames.next_frames(size))
            if not count:
                return pieces
            pieces.append(Piece(first, partial(read_piece, path, offset, count)))
            first += count


class FrameTexts:
    """The text of each frame of an open extxyz file.

    Args:
        file: At the beginning of a frame.

    Attributes:
        position: Where the next frame begins, in bytes from where the file was when this was made.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self._ahead = b""
        self.position = 0

    def take(self, count: int) -> list[bytes]:
        """The next frames, at most so many."""
        return list(self.next_frames(count))

    def next_frames(self, count: int) -> Iterator[bytes]:
        """The same, one at a time."""
        for _ in range(count):
            text = self._next()
            if not text:
                return
            self.position += len(text)
            yield text

    def _next(self) -> bytes:
        """One frame; empty at the end. Empty lines between frames, which ASE takes for the end of the file, are passed
        over; whatever is wrong is left to ASE."""
        head = self._line()
        while head and not head.strip():
            self.position += len(head)
            head = self._line()
        if not head:
            return b""
        lines = [head]
        atoms = int(head) if head.strip().isdigit() else 0
        for _ in range(atoms + 1):
            lines.append(self._line())
            if not lines[-1]:
                break
        while True:  # cell vectors as lines of their own, which ASE understands
            self._ahead = self._line()
            if not self._ahead.lstrip().startswith(b"VEC"):
                return b"".join(lines)
            lines.append(self._line())

    def _line(self) -> bytes:
        line, self._ahead = self._ahead, b""
        return line or self._file.readline()


def _open(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if _is_compressed(path) else path.open("rb")


def _is_compressed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"
