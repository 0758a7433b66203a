"""C++ text of what fused operations read: tables of couplings, and code for polynomials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from eqff.kernels.bilinear import RowCouplings
from eqff.kernels.generated.code import FUNCTIONS
from eqff.kernels.product_plans import ProductPlan


def bilinear_tables(rows: Mapping[tuple[str, tuple[int, ...]], RowCouplings], dtype: torch.dtype) -> str:
    """The array ``tables`` of every table that is used.

    Args:
        rows: By digest and the order of their axes.
        dtype: Of the numbers.
    """
    lines, entries = [], []
    for index, ((digest, axes), couplings) in enumerate(rows.items()):
        table = couplings.table(axes, dtype)
        for name, values in zip(("start", "first", "second", "value"), table.arrays, strict=True):
            kind = "real" if name == "value" else "std::int32_t"
            lines.append(f"static const {kind} {name}{index}[] = {{{_numbers(values)}}};")
        names = ", ".join(f"{name}{index}" for name in ("start", "first", "second", "value"))
        order = ", ".join(map(str, axes))
        entries.append(f'{{"{digest}", {{{order}}}, {{{table.rows}, {names}}}}}')
    return "\n".join([*lines, _array("static const Bilinear tables", entries)])


def product_codes(plans: Mapping[str, ProductPlan]) -> dict[str, str]:
    """A file for each plan's functions, under names of their own: ``product0_forward``, ..."""
    return {
        f"product{index}.cpp": "\n".join(
            [*(f"#define {name} product{index}_{name}" for name in FUNCTIONS), plan.code.text]
        )
        for index, plan in enumerate(plans.values())
    }


def product_table(plans: Mapping[str, ProductPlan]) -> str:
    """The array ``products`` of every plan that has code, and declarations of its functions."""
    lines, entries = [], []
    for index, (digest, plan) in enumerate(plans.items()):
        names = [f"product{index}_{name}" for name in FUNCTIONS]
        lines.append(f'extern "C" Function {", ".join(names)};')
        sizes = (plan.parts_in, plan.parts_out, plan.outputs)
        entries.append(f'{{"{digest}", {", ".join(map(str, sizes))}, {", ".join(names)}}}')
    return "\n".join([*lines, _array("static const Product products", entries)])


def _array(name: str, entries: Sequence[str]) -> str:
    # C++ has no arrays without elements
    listed = ",\n".join(entries)
    return f"{name}[] = {{\n{listed}}};\n" if entries else f"{name}[1] = {{}};\n"


def _numbers(values: Tensor) -> str:
    return ", ".join(map(repr, values.tolist()))
