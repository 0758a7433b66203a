"""Charge and spin states that can and can't be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqff.data.electrons import check_state, lowest_multiplicity
from eqff.errors import DataError

WATER = np.array([8, 1, 1])


@pytest.mark.parametrize(("charge", "multiplicity"), [(0, 1), (0, 3), (1, 2), (-1, 2), (2, 1), (10, 1), (9, 2)])
def test_possible(charge, multiplicity):
    check_state(WATER, charge, multiplicity)


@pytest.mark.parametrize(
    ("charge", "multiplicity", "message"),
    [
        (0, 2, "multiplicity 2 is impossible for 10 electrons .*possible are 1, 3, 5, 7"),
        (1, 1, "possible are 2, 4"),
        (0, 0, "unpaired_electrons"),
        (0, 13, "impossible"),
        (0, 1.5, "impossible"),
        (11, 1, "more than all 10 electrons"),
        (0.5, 1, "not a whole number"),
        (float("nan"), 1, "not a whole number"),
    ],
)
def test_impossible(charge, multiplicity, message):
    with pytest.raises(DataError, match=message):
        check_state(WATER, charge, multiplicity, "file, frame 3")


@given(numbers=st.lists(st.integers(1, 30), min_size=1, max_size=8), charge=st.integers(-3, 1))
def test_parity_decides(numbers, charge):
    numbers = np.array(numbers)
    lowest = lowest_multiplicity(numbers, charge)
    check_state(numbers, charge, lowest)
    with pytest.raises(DataError):
        check_state(numbers, charge, lowest + 1)  # so a count of unpaired electrons never passes for a multiplicity
