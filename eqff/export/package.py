"""The file of an exported model: machine code, the model file that it was made from, and what it needs to run.

It is a package as ``torch._inductor.aoti_load_package`` reads it, with two more entries. The model file is what every
check goes by (elements, charges and spins, cutoffs, units), so an exported model refuses what the model itself refuses.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from eqff.checkpoints.atomic import replacing
from eqff.errors import ModelFileError
from eqff.export.places import folders, without_folders

SUFFIX = ".pt2"
FORMAT = 2
_VECTORS = ("avx", "fma", "bmi", "amx", "asimd", "sve", "sse", "vaes", "vpclmul", "gfni", "f16c")
_SCALARS = ("popcnt", "abm", "movbe", "adx", "atomics", "lrcpc", "ilrcpc", "fphp", "fcma")  # compilers use them unasked
_ABOUT, _MODEL = "extra/eqff.json", "extra/model.safetensors.base64"  # PyTorch's loader takes extra files for text
_LISTED = ("lists", "handed", "fields", "beside", "operations", "processor")
_NUMBERS = {"seconds": (int, float), "format": int}
_NO_SOURCE = b"// left out: the library is what runs\n"


@dataclass(frozen=True)
class About:
    """What an exported model is and where it runs.

    Attributes:
        dtype: "float32" or "float64".
        lists: Neighbour lists, in the order in which they go in.
        handed: Fields that parts which are not compiled read.
        fields: That come out, in order.
        beside: Parts that are not compiled, by place.
        operations: Schemas of eqff's fused operations that the code calls.
        torch: Version that compiled it.
        processor: Features of the processor that it was compiled on, all of which it may use.
        model_digest: SHA-256 of the model file.
        seconds: Wall time of compilation.
        format: Of the file.
    """

    dtype: str
    lists: tuple[str, ...]
    handed: tuple[str, ...]
    fields: tuple[str, ...]
    beside: tuple[str, ...]
    operations: tuple[str, ...]
    torch: str
    processor: tuple[str, ...]
    model_digest: str
    seconds: float
    format: int = FORMAT


def write_package(path: Path, files: Mapping[str, list[str]], about: About, model: bytes) -> None:
    """Writes the file, whole or not at all.

    Nothing in it says where it was made: sources, with the commands that compiled them, are left out, and paths in the
    code are shortened.

    Raises:
        StorageError: The disk is full.
    """
    from torch._inductor.package import package_aoti

    with replacing(path) as partial, tempfile.TemporaryDirectory() as name:
        made = Path(name) / f"model{SUFFIX}"  # within the file all names begin with this one
        cleaned = {each: _cleaned(Path(name) / each, found) for each, found in files.items()}
        package_aoti(str(made), cleaned)
        shutil.copyfile(made, partial)
        with zipfile.ZipFile(partial, "a") as archive:
            root = archive.namelist()[0].partition("/")[0]
            archive.writestr(f"{root}/{_ABOUT}", json.dumps(asdict(about), indent=1))
            archive.writestr(f"{root}/{_MODEL}", base64.b64encode(model))


def _cleaned(folder: Path, files: Sequence[str]) -> list[str]:
    """Copies of a function's files that don't tell of this machine."""
    folder.mkdir()
    places = folders()
    for file in map(Path, files):
        # the loader takes names of sources into account, but not what is in them
        content = _NO_SOURCE if file.suffix == ".cpp" else without_folders(file.read_bytes(), places)
        (folder / file.name).write_bytes(content)
    return [str(folder / Path(file).name) for file in files]


def read_package(path: Path) -> tuple[About, bytes]:
    """What a file says about itself, and the model file in it; nothing of it runs.

    Raises:
        ModelFileError: No such file, or none of an exported model; or compiled for another torch or processor.
    """
    if not path.is_file():
        raise ModelFileError(f"There is no exported model at '{path}'.")
    try:
        with zipfile.ZipFile(path) as archive:
            if broken := archive.testzip():  # PyTorch's loader runs code whose checksum is another one
                raise ModelFileError(f"{path} is damaged: {Path(broken).name} in it is not what was written.")
            root = archive.namelist()[0].partition("/")[0]
            said = json.loads(archive.read(f"{root}/{_ABOUT}"))
            model = base64.b64decode(archive.read(f"{root}/{_MODEL}"), validate=True)
    except (zipfile.BadZipFile, KeyError, IndexError, ValueError) as error:
        raise ModelFileError(f"{path} is no model that eqff exported, or is damaged.") from error
    about = _about(said, path)
    if hashlib.sha256(model).hexdigest() != about.model_digest:
        raise ModelFileError(f"{path} is damaged: the model file in it is not the one that it was made from.")
    _require_here(about, path)
    return about, model


def processor() -> tuple[str, ...]:
    """Features of this machine's processor as Linux lists them; elsewhere PyTorch's name for its vector units."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text(encoding="utf-8").splitlines():
            if line.startswith(("flags", "Features")):
                return tuple(sorted(line.partition(":")[2].split()))
    return (torch.backends.cpu.get_cpu_capability(),)


def _about(said: Any, path: Path) -> About:
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        found = said.get("format") if isinstance(said, dict) else None
        raise ModelFileError(f"{path} has format {found}; this eqff reads {FORMAT}. Export the model again.")
    try:
        about = About(**{name: tuple(value) if isinstance(value, list) else value for name, value in said.items()})
    except TypeError as error:
        raise ModelFileError(f"{path} is damaged: {error}.") from error
    for name, value in asdict(about).items():
        words = value if isinstance(value, tuple) else (value,)
        kind = _NUMBERS.get(name, str)
        if isinstance(value, tuple) != (name in _LISTED) or not all(isinstance(word, kind) for word in words):
            raise ModelFileError(f"{path} is damaged: what it says of its {name} makes no sense.")
    return about


def _require_here(about: About, path: Path) -> None:
    if about.torch != torch.__version__:
        raise ModelFileError(
            f"{path} was compiled by torch {about.torch}, and here is torch {torch.__version__}: export the model "
            "again, python -m eqff.export model=..."
        )
    missing = [name for name in _instructions(about.processor) if name not in processor()]
    if missing:
        raise ModelFileError(
            f"{path} was compiled for a processor with {', '.join(missing)}, which this one lacks: export the model "
            "again on this machine."
        )


def _instructions(features: tuple[str, ...]) -> list[str]:
    """Features that decide what code runs; others say what a kernel or hypervisor does."""
    return [name for name in features if name.lower().startswith(_VECTORS) or name in _SCALARS]
