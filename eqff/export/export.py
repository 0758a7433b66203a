"""From a model file to an exported model that is known to agree with it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eqff.checkpoints.atomic import replacing
from eqff.checkpoints.model_file import find_model_file, load_model
from eqff.compilation.agreement import size_of
from eqff.corrections import lacking_corrections
from eqff.data.graph import AtomicGraph
from eqff.errors import ConfigError, ModelError
from eqff.export.compiling import compile_functions
from eqff.export.exported import ExportedPotential
from eqff.export.loading import exported_from
from eqff.export.package import SUFFIX, About, processor, write_package
from eqff.export.program import signature
from eqff.export.samples import disordered, sample
from eqff.export.split import split
from eqff.potential import Potential
from eqff.registry.locate import locate

AGREEMENT = {torch.float32: 1e-4, torch.float64: 1e-10}
"""Largest difference of the compiled model to the plain one, relative to `size_of` a field: summation order."""


def export_model(
    model: str | Path,
    output: str | Path,
    *,
    dtype: str | None = None,
    packages: tuple[str, ...] = (),
) -> ExportedPotential:
    """Compiles a model for inference on this machine's CPU and writes it as one file.

    Needs a C++ compiler. The result is compared with the model on a structure of another size before it takes the name
    ``output``; a file that is there stays if they disagree.

    Args:
        model: Model file, run folder, or name of a pretrained model.
        output: The ``.pt2`` file.
        dtype: "float32" or "float64"; None for that of the model.
        packages: Names of your own packages whose parts the model file may use.

    Raises:
        ConfigError: ``output`` does not end in .pt2.
        ModelError: The model can't be loaded or compiled, or the compiled one computes something else.
    """
    output = Path(output).expanduser()
    if output.suffix != SUFFIX:
        raise ConfigError(f"output is '{output}', but exported models are files that end in {SUFFIX}.")
    file = find_model_file(locate(model).path)
    potential = load_model(file, dtype=dtype, packages=packages)
    parts = split(potential, lacking_corrections(potential))
    start = time.perf_counter()
    graph = sample(parts.compiled)
    names = signature(parts.compiled, parts.handed, graph)
    compilation = compile_functions(parts.compiled, names, graph)
    about = About(
        dtype=str(potential.dtype).removeprefix("torch."),
        lists=names.lists,
        handed=names.handed,
        fields=names.fields,
        beside=parts.places,
        operations=compilation.operations,
        torch=torch.__version__,
        processor=processor(),
        model_digest=hashlib.sha256(file.read_bytes()).hexdigest(),
        seconds=round(time.perf_counter() - start, 1),
    )
    with replacing(output) as unchecked:
        write_package(unchecked, compilation.files, about, file.read_bytes())
        require_agreement(exported_from(unchecked, potential, about), potential)
    return exported_from(output, potential, about)  # by the name that the file has now


def require_agreement(exported: ExportedPotential, potential: Potential) -> None:
    """Compares everything that an exported model gives with the model that it was made from.

    Raises:
        ModelError: Something differs by more than `AGREEMENT`.
    """
    graph = disordered(potential, 17, np.random.default_rng(1))
    compiled = exported(graph, stress=True)
    plain = potential(graph, stress=True, create_graph=False)
    for name, value in compiled.items():
        _compare(name, value, plain, graph)


def _compare(name: str, value: Tensor, plain: Mapping[str, Tensor], graph: AtomicGraph) -> None:
    expected = plain[name]
    if not expected.is_floating_point() or not expected.numel():
        return
    size, difference = size_of(name, expected, graph.num_atoms), float((value - expected).abs().max())
    if not difference <= AGREEMENT[graph.positions.dtype] * max(size, 1e-3):
        raise ModelError(
            f"The compiled model gives other {name} than the plain one: they differ by {difference:.3g}, with values "
            f"up to {float(expected.abs().max()):.3g}. torch {torch.__version__} compiles this model wrongly; use the "
            "model file."
        )
