"""Clocks that ranks agree on: read anew before each row that shows them."""

import itertools

import pytest

from eqff.ranks import clocks


@pytest.fixture
def shared(monkeypatch):
    """The clocks of one of two ranks: each reading is a second later."""
    monkeypatch.setattr(clocks, "world_size", lambda: 2)
    monkeypatch.setattr(clocks, "sum_over_ranks", lambda values: values)
    seconds = itertools.count()
    return clocks.SharedClocks({"wall_seconds": lambda: float(next(seconds))})


def test_they_stand_still_between_agreements(shared):
    assert [shared.functions["wall_seconds"]() for _ in range(3)] == [0.0, 0.0, 0.0]
    shared.agree()
    assert shared.functions["wall_seconds"]() == 1.0


def test_they_are_read_before_the_row_of_a_validation(shared):
    """Lightning calls this of callbacks before that of the module, which writes the row."""
    before = shared.functions["wall_seconds"]()
    clocks.Agreement(shared, every_step=False).on_validation_epoch_end(None, None)
    assert shared.functions["wall_seconds"]() > before
