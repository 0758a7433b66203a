"""C++ for values on a tape, for sixteen floats or eight doubles at a time."""

from __future__ import annotations

from collections.abc import Sequence

from eqff.kernels.generated.polynomials import Function
from eqff.kernels.generated.tape import Combination, Input, Step, Tape

_FRAME = """
static inline void {name}_step(const real* const* in, real* const* out, const index_t* stride) {{
{body}}}

extern "C" void {name}(index_t atoms, index_t channels, const real* const* in, real* const* out, const index_t* stride,
                       const index_t* row, int threads) {{
    over_blocks<{inputs}, {outputs}>(atoms, channels, in, out, stride, row, threads, {name}_step);
}}
"""


def program(function: Function, tape: Tape) -> str:
    """A function that reads some arrays and writes others, channel by channel.

    Args:
        function: Pointers to its arrays come in the order in which it names them.
        tape: What is computed.
    """
    inputs, results = function.reads, function.writes
    return _FRAME.format(name=function.name, body=body(function, tape), inputs=len(inputs), outputs=len(results))


def body(function: Function, tape: Tape) -> str:
    """What reads arrays ``in``, computes, and writes arrays ``out``, whose components are ``stride`` apart."""
    inputs, results = function.reads, function.writes
    lines = []
    for place in tape.needed(value for values in results.values() for value in values):
        lines.append(f"    const vec v{place} = {_expression(tape.steps[place], inputs)};")
    for index, values in enumerate(results.values()):
        for component, value in enumerate(values):
            stored = "vec{}" if value is None else f"v{value}"
            lines.append(f"    put(out[{index}] + {component} * stride[{len(inputs) + index}], {stored});")
    return "".join(line + "\n" for line in lines)


def _expression(step: Step, inputs: Sequence[str]) -> str:
    if isinstance(step, Input):
        index = inputs.index(step.array)
        return f"get(in[{index}] + {step.component} * stride[{index}])"
    if isinstance(step, Combination):
        return " + ".join(
            f"v{value}" if factor == 1.0 else f"real({factor!r}) * v{value}" for factor, value in step.terms
        )
    return f"v{step.left} * v{step.right}"
