"""Fused operations as machine code within an exported model's file, so that no Python runs between its kernels.

AOTInductor lets code call an operation as a C function (``custom_ops_to_c_shims``), which is linked to it: from the
sources that eqff ships, code for the polynomials of the model, and its tables of couplings. So the file needs neither
the library of eqff nor a compiler where it is loaded.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import fx

from eqff.export.tables import bilinear_tables, product_codes, product_table
from eqff.kernels.capture import constant_of
from eqff.kernels.library import SOURCES as KERNELS
from eqff.kernels.library import archive, compiled_object
from eqff.kernels.native.declarations import calls, has_code, linkable
from eqff.kernels.native.objects import compiled_calls

_LIBRARY = "eqff_operations"


@contextmanager
def linked(graph: fx.Graph, dtype: torch.dtype) -> Iterator[dict[str, Any]]:
    """Within it, code of a graph is linked to its operations if Inductor is given the options that it yields.

    Args:
        graph: As traced.
        dtype: Of the model.

    Raises:
        OSError: There is no compiler.
        subprocess.SubprocessError: It fails.
    """
    operations = linkable(graph)
    if not operations:
        yield {}
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _build(folder, graph, dtype)
        with _linker_looks_in(folder):
            yield {
                "aot_inductor.custom_ops_to_c_shims": {each: [text] for each, text in operations.items()},
                "aot_inductor.custom_op_libs": [_LIBRARY],
            }


def _build(folder: Path, graph: fx.Graph, dtype: torch.dtype) -> None:
    """Makes the library that a graph is linked to, of files that are shipped and those that are written here."""
    rows = {(node.args[0], tuple(node.args[3])): constant_of(node.args[0]) for node in calls(graph, "rows")}
    plans = {node.args[0]: constant_of(node.args[0]) for node in calls(graph, "products") if has_code(node)}
    headers = {"bilinear_tables.h": bilinear_tables(rows, dtype), "product_table.h": product_table(plans)}
    codes = product_codes(plans)
    for name, text in (headers | codes).items():
        (folder / name).write_text(text, encoding="utf-8")
    # of written code, more than -O1 takes longer and makes nothing faster
    objects = [compiled_object(folder / name, ["-O1"], "") for name in codes]
    objects += [compiled_object(KERNELS / name, [], "") for name in ("messages.cpp", "rows.cpp")]
    archive(folder / f"lib{_LIBRARY}.a", objects + compiled_calls(folder, dtype))


@contextmanager
def _linker_looks_in(folder: Path) -> Iterator[None]:
    """GCC and Clang look for libraries where ``LIBRARY_PATH`` says; Inductor has no setting for it."""
    before = os.environ.get("LIBRARY_PATH")
    os.environ["LIBRARY_PATH"] = os.pathsep.join([str(folder), *([before] if before else [])])
    try:
        yield
    finally:
        if before is None:
            del os.environ["LIBRARY_PATH"]
        else:
            os.environ["LIBRARY_PATH"] = before
