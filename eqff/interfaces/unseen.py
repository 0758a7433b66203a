"""Charge and spin states that a model was not trained on: said once for each, or refused."""

from __future__ import annotations

import warnings

from eqff.data.atomic_data import AtomicData
from eqff.errors import ModelError
from eqff.evaluation.states import State, state_name, unseen_states
from eqff.outside import Outside
from eqff.potential import Potential


class UnseenStates:
    """Remembers which have been told of."""

    def __init__(self) -> None:
        self._told: set[State] = set()

    def check(self, data: AtomicData, potential: Potential, rule: Outside) -> None:
        """Looks whether training had the state of a structure.

        Args:
            data: The structure.
            potential: The model.
            rule: What happens where it had not.

        Raises:
            ModelError: The rule is to refuse it.
        """
        training = potential.metadata.training if potential.metadata else {}
        for state in unseen_states([data], training) if rule != "allow" else ():
            seen = ", ".join(state_name((row["total_charge"], row["multiplicity"])) for row in training["states"])
            text = f"The model was not trained on the state {state_name(state)}, only on {seen}"
            if rule == "refuse":
                raise ModelError(f'{text}. Take another model, or extrapolate: model.calculator(outside="warn").')
            if state not in self._told:
                self._told.add(state)
                warnings.warn(f"{text}: extrapolating.", stacklevel=5)
