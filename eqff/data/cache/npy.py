"""Growing .npy files: rows are appended, the shape in the header is put right at the end."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

_BLOCK = 1 << 24


class NpyAppender:
    """Writes one array row by row into a .npy file.

    Args:
        path: Of the file, which must not exist.
        dtype: Of the array.
        row_shape: Shape of one row.

    Attributes:
        rows: How many were written.
        crc: CRC-32 of all rows' bytes.
    """

    def __init__(self, path: Path, dtype: np.dtype | type, row_shape: Sequence[int] = ()):
        self.path = path
        self.dtype = np.dtype(dtype)
        self.row_shape = tuple(row_shape)
        self.rows = self.crc = 0
        self._file = path.open("xb")
        self._header()
        self._begin = self._file.tell()

    def append(self, rows: np.ndarray) -> None:
        """Writes rows (M, ...), converted to the file's dtype.

        Raises:
            OverflowError: An integer does not fit.
        """
        converted = np.ascontiguousarray(rows, dtype=self.dtype)
        if self.dtype.kind in "iu" and not np.array_equal(converted, rows):
            raise OverflowError(f"{self.path.name}: numbers outside of {self.dtype}")
        data = memoryview(converted.reshape(-1).view(np.uint8))
        self._file.write(data)
        self.crc = zlib.crc32(data, self.crc)
        self.rows += len(converted)

    def close(self) -> dict[str, Any]:
        """Finishes the file, on the disk before this returns; size and checksum for the manifest."""
        self._file.seek(0)
        self._header()
        if self._file.tell() != self._begin:
            raise OSError(f"{self.path}: NumPy left no space in the header for {self.rows} rows")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return {"bytes": self.path.stat().st_size, "crc32": self.crc}

    def _header(self) -> None:
        fields = {"descr": npy.dtype_to_descr(self.dtype), "fortran_order": False}
        npy.write_array_header_1_0(self._file, fields | {"shape": (self.rows, *self.row_shape)})


def map_npy(path: Path) -> np.ndarray:
    """The array of a .npy file as a read-only view of the file; nothing is loaded before it is looked at.

    Raises:
        ValueError: The file is no whole .npy file.
    """
    with path.open("rb") as file:
        version = npy.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"version {version} of the npy format")
        shape, _, dtype = npy.read_array_header_1_0(file)
        begin = file.tell()
    if int(np.prod(shape)) == 0:  # nothing that could be mapped
        return np.empty(shape, dtype)
    return np.asarray(np.memmap(path, dtype=dtype, mode="r", offset=begin, shape=shape))


def checksum(path: Path) -> int:
    """CRC-32 of the rows of a .npy file."""
    crc = 0
    with path.open("rb") as file:
        npy.read_magic(file)
        npy.read_array_header_1_0(file)
        while block := file.read(_BLOCK):
            crc = zlib.crc32(block, crc)
    return crc
