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
@triton.jit(do_not_specialize={fixed}, do_not_specialize_on_alignment={fixed})
def {name}({arguments}, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    atoms = atoms.to(tl.int64)
    inside = place < atoms * channels
    atom = place // channels
    channel = place - atom * channels
{body}"""
SCALE = "s"
"""The array whose components lie beside each other in one row of an atom."""


def module(polynomial: Polynomial, most: int) -> str:
    """Python source of a module; its ``KERNELS`` are the kernels of each function, which take the same arguments.

    Those are the tensors that are read, those that are written, for each of them the numbers in a row of an atom, N, C
    and as a constant the block of a program. Rows would follow from C; but then tensors of one shape share offsets,
    which the compiler keeps in registers from the first load to the last store.

    Args:
        polynomial: What is computed.
        most: Steps of a kernel: what is longer becomes several.
    """
    kernels, names = [], []
    for function in polynomial.functions():
        arrays = _arrays("", function.reads), _arrays("to_", tuple(function.writes))
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
        part: Arrays before it in a row of this tensor.
        step: Numbers from a component to the next, as source.
    """

    name: str
    tensor: str
    part: int
    step: str

    def begin(self) -> str:
        """Defines its name."""
        return f"{self.name} = {self.tensor} + (atom * row_{self.tensor} + {self.part} * channels + channel)"

    def at(self, component: int) -> str:
        """Where the numbers of a component are."""
        return f"{self.name} + {component} * {self.step}"


def _arrays(prefix: str, names: Sequence[str]) -> dict[str, _Array]:
    """Of all arrays that are read, or written, by name."""
    found, begun = {}, Counter[str]()
    for name in names:
        tensor = prefix + name.rstrip("0123456789")
        step = "channels" if name == SCALE else f"(atoms * row_{tensor})"
        found[name] = _Array(f"at_{prefix}{name}", tensor, begun[tensor], step)
        begun[tensor] += 1
    return found


def _kernel(
    name: str, read: Mapping[str, _Array], written: Mapping[str, _Array], results: Sequence[Result], tape: Tape
) -> str:
    tensors = list(dict.fromkeys(array.tensor for array in (*read.values(), *written.values())))
    arguments = [*tensors, *(f"row_{name}" for name in tensors), "atoms", "channels"]
    body = Body(tape, [result.value for result in results])
    for result in results:
        value = "0.0" if result.value is None else body.value(result.value)
        body.lines.append(f"tl.store({written[result.array].at(result.component)}, {value}, inside)")
    touched = {step.array: read[step.array] for step in body.inputs.values()}
    touched |= {f"to {result.array}": written[result.array] for result in results}
    lines = [array.begin() for array in touched.values()]
    for place, step in body.inputs.items():
        lines.append(f"v{place} = tl.load({read[step.array].at(step.component)}, inside)")
    return _KERNEL.format(
        name=name,
        fixed=arguments,
        arguments=", ".join(arguments),
        body="".join(f"    {line}\n" for line in (*lines, *body.lines)),
    )
