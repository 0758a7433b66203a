"""Machine code of an exported model's file, as a function of tensors that can be copied and pickled."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eqff.errors import ModelFileError
from eqff.registry.cache import sha256_of


class Code:
    """One function of an exported model: tensors in, tensors out. Making one runs code.

    It is pickled as the path and digest of its file: processes that a program starts (a parallel NEB, a pool) load the
    same file again. Unpickling runs code as any pickle does, so no trust is asked for anew.

    Args:
        path: The ``.pt2`` file.
        name: Of the function.
        digest: SHA-256 of the file; None for whatever it is now.

    Raises:
        ModelFileError: The file is not there any more, or another one.
    """

    def __init__(self, path: str | Path, name: str, digest: str | None = None):
        self.path, self.name = Path(path).resolve(), name
        try:
            self.digest = sha256_of(self.path)
        except OSError as error:
            raise ModelFileError(
                f"The exported model {self.path} can't be read: {error.strerror}. Where it was pickled it lay there; "
                "processes that share a model must see its file."
            ) from error
        if digest not in (None, self.digest):
            raise ModelFileError(
                f"{self.path} is not the exported model any more that was pickled: it was exported anew since. Load it "
                "again (eqff.load) before it is given to other processes."
            )
        # the loader itself: what PyTorch wraps around it (`torch._inductor.aoti_load_package`) brings 70 MB of
        # compilers, and parses a description of the arguments at every call
        self._one_at_a_time = threading.Lock()
        self._loader = torch._C._aoti.AOTIModelPackageLoader(str(self.path), name, False, 1, -1)

    def __call__(self, tensors: list[Tensor]) -> Sequence[Tensor]:
        """Runs; the list is emptied. Threads take turns."""
        # PyTorch's own lock is waited for without giving up the interpreter's, which code that calls an operation of
        # Python needs to go on: two threads would wait for each other forever
        with self._one_at_a_time:
            return self._loader.boxed_run(tensors)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self.path), self.name, self.digest)

    def __copy__(self) -> Code:
        return self  # it has no state

    def __deepcopy__(self, memo: dict[int, Any]) -> Code:
        return self
