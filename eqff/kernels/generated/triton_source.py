"""Triton for values on a tape: a thread for each atom and channel, which computes without loops or branches.

Arrays of a tensor (components, N, parts · C) are parts of its channels; the scale is (N, components · C). All numbers
are loaded first, and the compiler moves loads to where they are needed: nothing that is stored in between keeps it from
that. Results are stored as soon as they are there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eqff.kernels.generated.parts import Result, parts
from eqff.kernels.generated.polynomials import Polynomial
from eqff.kernels.generated.tape import Tape
from eqff.kernels.generated.triton_body import Body

_MODULE = '''"""Written by eqff.kernels.generated.triton_source."""

import triton
import triton.language as tl

{kernels}
KERNELS = {{
{names}}}
'''
_KERNEL = """
@triton.jit(do_not_specialize={names}, do_not_specialize_on_alignment={names})
def {name}({arguments}, atoms, channels, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    plane = channels.to(tl.int64) * atoms
    inside = place < plane
    atom = place // channels
    channel = place - atom * channels
{body}"""
SCALE = "s"
"""The array whose components lie beside each other in one row of an atom."""


def module(polynomial: Polynomial, most: int) -> str:
    """Python source of a module; its ``KERNELS`` are the kernels of each function, which take the same arguments.

    Those are the tensors that are read, those that are written, N, C and as a constant the block of a program.

    Args:
        polynomial: What is computed.
        most: Steps of a kernel: what is longer becomes several.
    """
    kernels, names = [], []
    for function in polynomial.functions():
        arrays = _arrays("", function.reads, polynomial), _arrays("to_", tuple(function.writes), polynomial)
        called = []
        for results in parts(function, polynomial.tape, most):
            called.append(f"{function.name}_{len(called)}")
            kernels.append(_kernel(called[-1], *arrays, results, polynomial.tape))
        names.append(f'    "{function.name}": ({", ".join(called)},),\n')
    return _MODULE.format(kernels="\n".join(kernels), names="".join(names))


@dataclass(frozen=True)
class _Array:
    """How a kernel finds the numbers of an array.

    Attributes:
        name: Of the place of its first number.
        tensor: The argument in which they are.
        row: Numbers of this tensor from an atom to the next, as source.
        first: Numbers before it in a row.
        step: Numbers from a component to the next.
    """

    name: str
    tensor: str
    row: str
    first: str
    step: str

    def begin(self) -> str:
        """Defines its name."""
        return f"{self.name} = {self.tensor} + (atom * {self.row} + {self.first} + channel)"

    def at(self, component: int) -> str:
        """Where the numbers of a component are."""
        return f"{self.name} + {component} * {self.step}"


def _arrays(prefix: str, names: Sequence[str], polynomial: Polynomial) -> dict[str, _Array]:
    """Of all arrays that are read, or written, by name."""
    tensors = {name: prefix + name.rstrip("0123456789") for name in names}
    parts, begun = Counter(tensors.values()), Counter[str]()
    found = {}
    for name, tensor in tensors.items():
        count, step = parts[tensor], f"(plane * {parts[tensor]})"
        if name == SCALE:
            count, step = len(polynomial.by_scale), "channels"
        found[name] = _Array(f"at_{prefix}{name}", tensor, f"(channels * {count})", f"channels * {begun[tensor]}", step)
        begun[tensor] += 1
    return found


def _kernel(
    name: str, read: Mapping[str, _Array], written: Mapping[str, _Array], results: Sequence[Result], tape: Tape
) -> str:
    arguments = list(dict.fromkeys(array.tensor for array in (*read.values(), *written.values())))
    body = Body(tape, [result.value for result in results])
    body.lines += [array.begin() for array in read.values()]
    body.lines += [written[name].begin() for name in dict.fromkeys(result.array for result in results)]
    body.load(lambda step: read[step.array].at(step.component))
    for result in results:
        value = "0.0" if result.value is None else body.value(result.value)
        body.lines.append(f"tl.store({written[result.array].at(result.component)}, {value}, inside)")
    return _KERNEL.format(
        name=name,
        names=[*arguments, "atoms", "channels"],
        arguments=", ".join(arguments),
        body="".join(f"    {line}\n" for line in body.lines),
    )
