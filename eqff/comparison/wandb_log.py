"""W&B's own log of a run (``run-ID.wandb``), read back without a network.

Since 0.31 an offline run has its config and summary in this log only, and neither wandb's Python API nor an older
``config.yaml`` gives them. The log is in LevelDB's format: after a header of 7 bytes blocks of 32 KiB, in them records
of checksum, length and type (whole, first, middle or last piece), the content being protobuf messages.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eqff.errors import DataError

_MAGIC, _HEADER, _BLOCK = b":W&B", 7, 32768
_RECORD = struct.Struct("<IHB")
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


@dataclass
class WandbLog:
    """What a log holds.

    Attributes:
        run_id: Of the run.
        name: Of the run.
        config: As given to ``wandb.init`` and changed since.
        summary: Last values by name.
        history: Rows in the order in which they were logged.
        exit_code: Of the process; None if it has not ended in an orderly way.
        complete: Whether the log ends with a whole record.
    """

    run_id: str = ""
    name: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    exit_code: int | None = None
    complete: bool = True

    def add(self, record: Any) -> None:
        """Takes in one protobuf ``Record``."""
        kind = record.WhichOneof("record_type")
        if kind == "run":
            self.run_id, self.name = record.run.run_id, record.run.display_name
            self.config |= _items(record.run.config.update)
        elif kind == "config":
            self.config |= _items(record.config.update)
        elif kind == "summary":
            self.summary |= _items(record.summary.update)
        elif kind == "history":
            self.history.append(_items(record.history.item))
        elif kind == "exit":
            self.exit_code = record.exit.exit_code


def read_log(path: str | Path) -> WandbLog:
    """A log; a tail that a killed process has not written is missing in it.

    Args:
        path: The ``.wandb`` file, or the folder ``offline-run-...`` that holds it.

    Raises:
        DataError: No such file, not W&B's, damaged, or without a single record.
    """
    file, log = find_log(Path(path)), WandbLog()
    for record in read_records(file):
        if record is None:
            log.complete = False
        else:
            log.add(record)
    if not log.run_id:
        raise DataError(
            f"{file} holds no run: the process was killed before W&B wrote anything. Give the run folder, whose "
            "metrics.jsonl is written row by row."
        )
    return log


def find_log(path: Path) -> Path:
    """The ``.wandb`` file at a path or in the folder there.

    Raises:
        DataError: There is none.
    """
    found = [path] if path.is_file() else sorted(path.glob("*.wandb"))
    if not found:
        raise DataError(f"'{path}' holds no .wandb file: it is no W&B run, or its log was deleted.")
    return found[0]


def read_records(file: Path) -> Iterator[Any]:
    """The protobuf ``Record`` messages of a log, in order; None in the end if the last one is cut off.

    Raises:
        DataError: Not a log of W&B's, or damaged.
    """
    from google.protobuf.message import DecodeError
    from wandb.proto.wandb_internal_pb2 import Record

    content = file.read_bytes()
    if content[: len(_MAGIC)] != _MAGIC:
        raise DataError(f"{file} is no log of W&B.")
    for index, piece in enumerate(_pieces(content, file)):
        record = Record()
        try:
            record.ParseFromString(piece or b"")
        except DecodeError as error:
            raise DataError(f"{file}: record {index} is none that this wandb understands ({error}).") from error
        yield None if piece is None else record


def _pieces(content: bytes, file: Path) -> Iterator[bytes | None]:
    """The pieces put together; None in the end if the last one is cut off."""
    offset, parts = _HEADER, []
    while offset + _RECORD.size <= len(content):
        left = _BLOCK - offset % _BLOCK
        if left < _RECORD.size:
            offset += left
            continue
        checksum, length, kind = _RECORD.unpack_from(content, offset)
        if kind == 0 and length == 0:  # the rest of a block that was filled up
            offset += left
            continue
        start = offset + _RECORD.size
        piece = content[start : start + length]
        if len(piece) < length:
            yield None
            return
        if zlib.crc32(piece, zlib.crc32(bytes([kind]))) != checksum:
            raise DataError(f"{file} is damaged at byte {offset}: its checksum is wrong. Give the run folder instead.")
        parts = [piece] if kind in (_WHOLE, _FIRST) else [*parts, piece]
        if kind in (_WHOLE, _LAST):
            yield b"".join(parts)
            parts = []
        offset = start + length
    if parts or offset < len(content):
        yield None


def _items(items: Any) -> dict[str, Any]:
    """Names, nested ones with slashes, to values."""
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
