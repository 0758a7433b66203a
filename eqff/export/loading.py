"""Loading exported models, which runs machine code and so asks for trust."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

from eqff.checkpoints.model_file import load_model
from eqff.errors import ModelError
from eqff.export import operations
from eqff.export.code import Code
from eqff.export.exported import ExportedPotential
from eqff.export.package import About, read_package
from eqff.export.program import Signature

_log = logging.getLogger(__name__)


def load_exported(
    path: str | Path,
    *,
    trust_code: bool = False,
    dtype: object = None,
    device: object = "cpu",
    packages: tuple[str, ...] = (),
) -> ExportedPotential:
    """An exported model, ready for calculators.

    Args:
        path: The ``.pt2`` file.
        trust_code: That whoever made the file is trusted: it holds machine code, which runs with your rights as soon as
            it is loaded. Model files (``.safetensors``) run nothing.
        dtype: That of the file or None; compiled code has no other.
        device: "cpu".
        packages: Names of your own packages whose parts the model file in it may use.

    Raises:
        ModelError: The code is not trusted; another precision or device is asked for.
        ModelFileError: There is no such file, it is damaged, or was compiled for another torch or processor.
    """
    path = Path(path).expanduser()
    about, model = read_package(path)
    if not trust_code:
        raise ModelError(
            f"{path} holds machine code, which can do whatever you can as soon as it is loaded; model files "
            "(.safetensors) run nothing. If you made it or trust who did, say so: trust_code=True in Python, "
            "trust_code=true in commands."
        )
    wanted = str(dtype).removeprefix("torch.") if dtype is not None else about.dtype
    if wanted != about.dtype or str(device) != "cpu":
        raise ModelError(
            f"{path} was compiled for {about.dtype} on the CPU, not for {wanted} on {device}: give "
            "device=cpu and no other dtype, export the model again with dtype=..., or take the model file."
        )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        file.write_bytes(model)
        potential = load_model(file, dtype=about.dtype, packages=packages)
    if about.beside:
        _log.info("%s: %s run beside the compiled code.", path.name, ", ".join(about.beside))
    return exported_from(path, potential, about)


def exported_from(path: Path, potential: Any, about: About) -> ExportedPotential:
    """The potential with the code of a package; runs code.

    Raises:
        ModelError: The code calls fused operations, and here are none.
        ModelFileError: It calls operations of another version.
    """
    names = Signature(about.lists, about.handed, about.fields)
    if about.operations:
        operations.require(about.operations, path)
        if not operations.run_here(potential):
            raise ModelError(
                f"{path} was compiled with eqff's fused operations, which don't run here: they need a C++ compiler "
                "once, and EQFF_KERNELS must not be 'plain'. Export the model again here, or take the model file."
            )
    energy = Code(path, "energy") if about.handed else None
    return ExportedPotential(potential, names, Code(path, "derivatives"), energy, called=about.operations)
