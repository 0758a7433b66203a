"""Total charge and multiplicity of each structure of a batch whose structures may come and go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from eqff.data.convert import Multiplicity
from eqff.errors import ConfigError, ModelError
from eqff.interfaces.given import Given
from eqff.interfaces.state import surroundings


class BatchStates:
    """Says in which state a structure of a batch is.

    Engines sort structures by size, take finished ones out of a batch and put others in, and tell nothing of them but
    their atoms. One charge and multiplicity for all are safe then. Where structures have their own, they are recognised
    by the elements of their atoms, never by their place, and refused if these leave a doubt.

    Args:
        total_charge: e, of all structures or of each; None where batches say it.
        multiplicity: 2S+1 or "lowest", of all structures or of each; None where batches say it.
        systems: All structures that there will be, in the order of these lists; their ``info`` may state what is not
            given here. None where one state is for all.

    Raises:
        ConfigError: Lists of different lengths, or without the structures that they belong to.
        DataError: Charge or multiplicity of one of the systems are nowhere given, or impossible.
        ModelError: Its ``info`` says otherwise than what is given here.
    """

    def __init__(
        self,
        total_charge: float | Sequence[float] | Tensor | None,
        multiplicity: Multiplicity | Sequence[Multiplicity] | Tensor | None,
        systems: Sequence[Atoms] | None = None,
    ):
        charges, multiplicities = _listed(total_charge), _listed(multiplicity)
        lengths = {len(values) for values in (charges, multiplicities, systems) if isinstance(values, (list, tuple))}
        if len(lengths) > 1:
            raise ConfigError(
                f"total_charge, multiplicity and systems have different lengths ({sorted(lengths)}): a list needs one "
                "entry for every structure."
            )
        if lengths and systems is None:
            raise ConfigError(
                "A list of charges or multiplicities needs the structures that it belongs to, systems=[...]: engines "
                "sort and exchange the structures of a batch, so that places say nothing."
            )
        self._for_all = not lengths
        places = range(1 if self._for_all else lengths.pop())
        self._states = [Given(_entry(charges, k), _entry(multiplicities, k), None) for k in places]
        self._by_atoms: dict[bytes, set[Given]] = {}
        for state, atoms in zip(self._states, systems or (), strict=systems is not None):
            self._by_atoms.setdefault(_key(atoms.numbers), set()).add(_settled(state, atoms))

    def __call__(self, numbers: Sequence[np.ndarray]) -> list[Given]:
        """The states of the structures of a batch.

        Args:
            numbers: Atomic numbers of each structure.

        Raises:
            ModelError: It can't be told which.
        """
        if self._for_all:
            return self._states * len(numbers)
        return [self._recognised(_key(structure)) for structure in numbers]

    def _recognised(self, key: bytes) -> Given:
        known = self._by_atoms.get(key, set())
        if len(known) == 1:
            return next(iter(known))
        formula = Atoms(np.frombuffer(key, dtype=np.int64)).get_chemical_formula()
        reason = "has several states" if known else "is none"
        raise ModelError(
            f"Charge and multiplicity of {formula} can't be told: it {reason} among the structures that were given, "
            "and batches tell nothing but atoms. Let the batch say them itself (docs/engines.md), or run each state "
            "with its own model."
        )


def _listed(given: Any) -> Any:
    """A list where there is one value for each structure, else the value."""
    values = torch.as_tensor(given).tolist() if isinstance(given, (Tensor, np.ndarray)) else given
    return list(values) if isinstance(values, Sequence) and not isinstance(values, str) else values


def _entry(values: Any, place: int) -> Any:
    return values[place] if isinstance(values, list) else values


def _settled(given: Given, atoms: Atoms) -> Given:
    if lost := [key for key, value in surroundings(atoms.info).items() if np.any(value)]:
        raise ModelError(
            f"{atoms.get_chemical_formula()} states {', '.join(lost)}, which batches that move don't hand on. Take it "
            "away, or run the structure with the ASE calculator."
        )
    data = given.structure(atoms)
    return Given(float(data.total_charge), float(data.multiplicity), None)


def _key(numbers: np.ndarray) -> bytes:
    return np.asarray(numbers, dtype=np.int64).tobytes()
