"""Machine code of the C functions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from eqff.kernels.choice import DTYPES
from eqff.kernels.generated.code import REAL
from eqff.kernels.library import compiled_object

SOURCES = Path(__file__).parent / "source"


def compiled_calls(headers: Path, dtype: torch.dtype, options: Sequence[str] = ()) -> list[Path]:
    """Object files of all C functions, from the cache or made; they call the functions of `eqff.kernels.library`.

    Args:
        headers: Where ``bilinear_tables.h`` and ``product_table.h`` lie: what operations with constants look up.
        dtype: Of the numbers.
        options: More of them for the compiler.

    Raises:
        OSError: There is no compiler, or the cache can't be written.
        subprocess.SubprocessError: The compiler fails.
    """
    options = [f"-DREAL={REAL[dtype]}", f"-DKERNEL(name)=name##_{DTYPES[dtype]}", *options]
    places = [f"-I{path}" for path in (headers, SOURCES, Path(torch.__file__).parent / "include")]
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(headers.glob("*.h"))}
    shared = [(SOURCES / name).read_text(encoding="utf-8") for name in ("handles.h", "kernels.h")]
    common = "\0".join([torch.__version__, *shared])
    objects = []
    for source in sorted(SOURCES.glob("*.cpp")):
        text = source.read_text(encoding="utf-8")
        included = [header for name, header in texts.items() if name in text]
        objects.append(compiled_object(source, [*options, *places], "\0".join([common, *included])))
    return objects
