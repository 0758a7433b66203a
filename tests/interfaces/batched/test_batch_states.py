"""Charge and spin of structures that come and go: given for all, in order, or recognised; never guessed."""

import numpy as np
import pytest
import torch
from ase import Atoms

from eqff.errors import ConfigError, DataError, ModelError
from eqff.interfaces.batched.states import BatchStates
from eqff.testing.structures import molecule

WATER, AMMONIA, HYDROXYL = (np.array(numbers) for numbers in ([8, 1, 1], [7, 1, 1, 1], [8, 1]))


def states(made, *numbers):
    return [(state.total_charge, state.multiplicity) for state in made(list(numbers))]


def test_one_state_for_all():
    made = BatchStates(0, "lowest")
    assert states(made, WATER, HYDROXYL) == [(0, "lowest")] * 2
    assert states(made, HYDROXYL) == [(0, "lowest")]


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_each_its_own_whatever_the_order(kind):
    made = BatchStates(kind([0, -1, 1]), kind([1, 1, 1]), [Atoms(WATER), Atoms(HYDROXYL), Atoms(AMMONIA[:3])])
    assert states(made, WATER, HYDROXYL, AMMONIA[:3]) == [(0, 1), (-1, 1), (1, 1)]
    assert states(made, HYDROXYL, WATER, WATER) == [(-1, 1), (0, 1), (0, 1)]
    with pytest.raises(ModelError, match="H2 can't be told: it is none among the structures"):
        made([np.array([1, 1])])


def test_one_molecule_in_two_states_is_refused_in_any_order():
    """Automatic batching sorts structures: their places are not those in which they were given."""
    made = BatchStates([0, -1], [2, 1], [Atoms(HYDROXYL)] * 2)
    for batch in ([HYDROXYL], [HYDROXYL, HYDROXYL]):
        with pytest.raises(ModelError, match="HO can't be told: it has several states"):
            made(batch)


def test_all_structures_beforehand():
    systems = [Atoms(WATER, info={"charge": 0, "spin": 1}), Atoms(HYDROXYL, info={"charge": -1, "spin": 1})]
    made = BatchStates(None, None, systems)
    assert states(made, HYDROXYL) == [(-1, 1)]
    assert states(made, HYDROXYL, WATER, HYDROXYL) == [(-1, 1), (0, 1), (-1, 1)]
    assert states(BatchStates([0, -1], "lowest", [Atoms(WATER), Atoms(HYDROXYL)]), HYDROXYL) == [(-1, 1)]


def test_nothing_is_guessed():
    with pytest.raises(DataError, match="nowhere given"):
        BatchStates(None, 1, [Atoms(WATER)])
    with pytest.raises(ModelError, match="total_charge=1, but atoms.info says 0"):
        BatchStates(1, 1, [Atoms(WATER, info={"charge": 0, "spin": 1})])


def test_lengths_have_to_fit():
    with pytest.raises(ConfigError, match="different lengths"):
        BatchStates([0, 1], [1, 1, 1])
    with pytest.raises(ConfigError, match="needs the structures that it belongs to"):
        BatchStates([0, 1], 1)


def test_surroundings_that_batches_do_not_hand_on_are_refused():
    atoms = molecule(1)
    atoms.info["electric_field"] = [0.0, 0.0, 0.1]
    with pytest.raises(ModelError, match="states electric_field, which batches"):
        BatchStates(None, None, [atoms])
    atoms.info["electric_field"] = [0.0, 0.0, 0.0]
    BatchStates(None, None, [atoms])
