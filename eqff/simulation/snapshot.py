"""What ASE's integrators, optimizers and filters keep between steps, taken out and put back number by number.

ASE has no common way to save thermostats, barostats and optimizers. Their state is plain numbers and arrays in their
attributes, so one walk over these serves all of them, those of later versions included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase.cell import Cell

_HOLDERS = ("ase.md.", "ase.optimize.", "ase._4.optimize.", "ase.filters")
"""Modules of the classes whose attributes are walked; atoms, calculators, files and noise are saved elsewhere."""

Node = dict[str, Any]


def take(part: object) -> tuple[Node, list[np.ndarray]]:
    """The state of an object: a tree that JSON can hold, and the arrays that it refers to by number.

    Args:
        part: An integrator, optimizer or filter of ASE's.
    """
    walk = _Walk()
    return walk.object(part), walk.arrays


def give(part: object, tree: Node, arrays: Sequence[np.ndarray]) -> None:
    """Puts a state that `take` made back into an object of the same kind.

    Args:
        part: Made with the same settings, and as many of its parts there as then.
        tree: What `take` returned.
        arrays: The same; they become the object's own.
    """
    for name, node in tree.items():
        if "object" in node:
            give(getattr(part, name), node["object"], arrays)
        else:
            vars(part)[name] = _decode(node, arrays)


class _Walk:
    """One walk over an object; what is met twice, under two names, stays one."""

    def __init__(self):
        self.arrays: list[np.ndarray] = []
        self._numbers: dict[int, int] = {}
        self._objects: set[int] = set()

    def object(self, part: object) -> Node:
        self._objects.add(id(part))
        tree: Node = {}
        for name, value in vars(part).items():
            if type(value).__module__.startswith(_HOLDERS):
                if id(value) not in self._objects:
                    tree[name] = {"object": self.object(value)}
                continue
            node = self._encode(value)
            if node is not None:
                tree[name] = node
        return tree

    def _encode(self, value: Any) -> Node | None:
        """A node for plain values, arrays and lists of them; None for what is no state."""
        if isinstance(value, (np.ndarray, np.generic, Cell)):
            return {"array": self._number(value), "kind": _kind(value)}
        if value is None or isinstance(value, (bool, int, float, str)):
            return {"value": value}
        if isinstance(value, list):
            nodes = [self._encode(item) for item in value]
            return None if any(node is None for node in nodes) else {"list": nodes}
        return None

    def _number(self, value: np.ndarray | np.generic | Cell) -> int:
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self.arrays)
            self.arrays.append(np.array(value))
        return self._numbers[id(value)]


def _kind(value: np.ndarray | np.generic | Cell) -> str:
    return "cell" if isinstance(value, Cell) else "array" if isinstance(value, np.ndarray) else "scalar"


def _decode(node: Node, arrays: Sequence[np.ndarray]) -> Any:
    if "value" in node:
        return node["value"]
    if "list" in node:
        return [_decode(item, arrays) for item in node["list"]]
    array = arrays[node["array"]]
    return {"cell": Cell, "array": lambda a: a, "scalar": lambda a: a[()]}[node["kind"]](array)
