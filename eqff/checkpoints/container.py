"""The container of a model file: tensors in safetensors, and in its metadata one JSON text with digests of both."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from eqff.checkpoints.atomic import replacing
from eqff.checkpoints.upgrades import require_known_version
from eqff.errors import ModelError, ModelFileError

MAX_HEADER_BYTES = 16 * 2**20
_HEADER, _HEADER_DIGEST, _TENSOR_DIGEST = "eqff", "eqff_sha256", "eqff_tensors_sha256"
_FIRST_WITH_DIGESTS = 2  # the format version from which on a file without digests is not whole
_ARCHIVE = b"PK\x03\x04"  # how zip files begin
_REMEDY = "Copy it again from where it came, or take an earlier file."


@dataclass(frozen=True)
class Container:
    """What a file holds, checked against its digests but not interpreted.

    Attributes:
        header: The JSON object.
        tensors: By name; empty where only the header was read. They are mapped from the file, not copied.
    """

    header: dict[str, Any]
    tensors: dict[str, Tensor]


def write_container(path: str | Path, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Path:
    """Writes a file, whole or not at all.

    Raises:
        ModelError: The header is too large.
    """
    text = json.dumps(header, allow_nan=False)
    if len(text) > MAX_HEADER_BYTES // 2:
        raise ModelError(f"The model was not saved: its metadata takes {len(text)} bytes: leave data out of it.")
    digests = {_HEADER_DIGEST: _digest_text(text), _TENSOR_DIGEST: digest_tensors(tensors)}
    with replacing(path) as temporary:
        save_file(dict(tensors), temporary, metadata={"format": "pt", _HEADER: text, **digests})
    return Path(path)


def read_container(path: Path, *, with_tensors: bool = True) -> Container:
    """Reads a file and checks it against its digests; nothing of it is executed.

    Raises:
        ModelFileError: Not a model file, cut off, damaged, or with a header of absurd size or depth.
    """
    with _refusing(path):
        _check_start(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()} if with_tensors else {}
    header = _parse(metadata, path)
    required = require_known_version(header, str(path)) >= _FIRST_WITH_DIGESTS
    _check_digest(path, "metadata", metadata.get(_HEADER_DIGEST), _digest_text(metadata[_HEADER]), required)
    if with_tensors:
        _check_digest(path, "weights", metadata.get(_TENSOR_DIGEST), digest_tensors(tensors), required)
    return Container(header, tensors)


def _check_digest(path: Path, what: str, written: str | None, found: str, required: bool) -> None:
    if (written is not None or required) and written != found:
        raise ModelFileError(f"{path} is damaged: its {what} are not those that were written. {_REMEDY}")


def digest_tensors(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and numbers, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{list(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _digest_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _check_start(path: Path) -> None:
    """Refuses by the first nine bytes what is no safetensors file, or claims a header that can't be there."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    if not start:
        raise ModelFileError(f"{path} is cut off: it is empty. {_REMEDY}")
    if start.startswith(_ARCHIVE) and path.suffix == ".pt2":
        raise ModelFileError(
            f"{path} is a model that was compiled ahead of time: it can be used as it is (eqff.load with "
            "trust_code=True, commands with trust_code=true), but is no model file. Give the one behind it."
        )
    if len(start) == 9 and start[8:] != b"{":
        raise ModelFileError(
            f"{path} is no safetensors file. eqff reads its own model files only, and never unpickles; the model of a "
            "run is called model.safetensors."
        )
    if len(start) < 9 or length > size - 8:
        raise ModelFileError(f"{path} is cut off: it has {size} bytes, its header alone needs {length + 8}. {_REMEDY}")
    if length > MAX_HEADER_BYTES:
        raise ModelFileError(
            f"{path} claims a header of {length} bytes; more than {MAX_HEADER_BYTES} is not read, as no model needs it."
        )


def _parse(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    if _HEADER not in metadata:
        raise ModelFileError(f"{path} is a safetensors file without eqff's metadata: it holds no eqff model.")
    try:
        header = json.loads(metadata[_HEADER], object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: its metadata is no JSON as eqff writes it ({error}). {_REMEDY}") from error
    if not isinstance(header, dict):
        raise ModelFileError(f"{path}: its metadata is no JSON object. {_REMEDY}")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"'{twice}' stands there twice")
    return found


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except SafetensorError as error:
        raise ModelFileError(f"{path} is damaged: {error}. {_REMEDY}") from error
    except OSError as error:
        raise ModelFileError(f"{path} can't be read: {error.strerror or error}.") from error
