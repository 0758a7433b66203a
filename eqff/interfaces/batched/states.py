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

    Engines that take finished structures out of a batch and put others in tell nothing of them but their atoms. One
    charge and multiplicity for all are safe then. Several are given in the order of the structures; in a batch that is
    another than the first, structures are recognised by the elements of their atoms, where these leave no doubt.

    Args:
        total_charge: e, of all structures or of each; None where batches say it.
        multiplicity: 2S+1 or "lowest", of all structures or of each; None where batches say it.
        systems: All structures that there will be; their ``info`` may state what is not given here. None for those of
            the first batch.

    Raises:
        ConfigError: Lists of different lengths.
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
        self._for_all = not lengths
        places = range(1 if self._for_all else lengths.pop())
        self._states = [Given(_entry(charges, k), _entry(multiplicities, k), None) for k in places]
        self._order: list[bytes] | None = None
        self._by_atoms: dict[bytes, set[Given]] = {}
        if systems is not None:
            pairs = zip(self._states, systems, strict=True)
            self._states = [_settled(state, atoms) for state, atoms in pairs]
            self._learn([atoms.numbers for atoms in systems])

    def __call__(self, numbers: Sequence[np.ndarray]) -> list[Given]:
        """The states of the structures of a batch.

        Args:
            numbers: Atomic numbers of each structure.

        Raises:
            ModelError: It can't be told which.
        """
        if self._for_all:
            return self._states * len(numbers)
        if self._order is None:
            if len(numbers) != len(self._states):
                raise ModelError(
                    f"Charges or multiplicities of {len(self._states)} structures were given, but the first batch has "
                    f"{len(numbers)}. Where batches change, give all structures beforehand: systems=[...]."
                )
            self._learn(numbers)
        keys = [_key(structure) for structure in numbers]
        return list(self._states) if keys == self._order else [self._recognised(key) for key in keys]

    def _learn(self, numbers: Sequence[np.ndarray]) -> None:
        self._order = [_key(structure) for structure in numbers]
        for key, state in zip(self._order, self._states, strict=True):
            self._by_atoms.setdefault(key, set()).add(state)

    def _recognised(self, key: bytes) -> Given:
        known = self._by_atoms.get(key, set())
        if len(known) == 1:
            return next(iter(known))
        formula = Atoms(np.frombuffer(key, dtype=np.int64)).get_chemical_formula()
        reason = "stands there in several" if known else "is none of the structures that were given"
        raise ModelError(
            f"Charge and multiplicity of {formula} can't be told: the batch has changed since they were given, and "
            f"this {reason}. Keep the batch as it is (no automatic batching), or run each state with its own model."
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
