"""Starts of iterative solves: what is predicted, and when nothing is."""

import json

import numpy as np
import pytest
import torch

from eqff.data.solves import COEFFICIENTS, COLD, JUMP, SolveHistory, fitted_coefficients, solve_history
from eqff.errors import ModelError

CELL = np.zeros((3, 3))
DEGREES = {"last": 0, "linear": 1, "quadratic": 2, "always_stable": 1}


def geometry(time):
    rng = np.random.default_rng(0)
    place, velocity, turn = rng.normal(size=(3, 5, 3))
    return place + 0.02 * velocity * time + 0.05 * turn * np.sin(0.7 * time)


def solution(time, degree):
    rng = np.random.default_rng(1)
    return torch.from_numpy(sum(rng.normal(size=(5, 3)) * time**power for power in range(degree + 1)))


def step(history, time, found=None, key="k", positions=None):
    """One evaluation with one solve; what it began with."""
    history.begin(geometry(time) if positions is None else positions, CELL, key)
    this = history.next("solve")
    this.end(solution(time, 2) if found is None else found)
    return this.start


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_polynomials_in_time_are_continued_exactly(name):
    history = SolveHistory(name)
    for time in range(6):
        start = step(history, time, solution(time, DEGREES[name]))
        if time >= len(COEFFICIENTS[name]):
            torch.testing.assert_close(start, solution(time, DEGREES[name]), rtol=1e-12, atol=1e-12)
    assert sum(COEFFICIENTS[name]) == pytest.approx(1) and (history.cold, history.warm) == (1, 5)


def test_fit_finds_oscillations_that_no_low_polynomial_continues():
    history, other = SolveHistory("fitted"), SolveHistory("quadratic")
    for time in range(12):
        expected = torch.from_numpy(geometry(time)) @ torch.arange(9.0, dtype=torch.float64).reshape(3, 3)
        starts = [step(each, time, expected) for each in (history, other)]
    errors = [(start - expected).abs().max() for start in starts]
    assert errors[0] < 1e-3 and errors[0] < errors[1] / 10


def test_fitted_coefficients_stay_finite_where_nothing_moved():
    same = [geometry(0)] * 5
    assert np.isfinite(fitted_coefficients(geometry(0), same)).all() and sum(
        fitted_coefficients(geometry(1), same)
    ) == pytest.approx(1)


@pytest.mark.parametrize("change", ["key", "jump", "order", "count", "cell"])
def test_what_does_not_go_on_begins_at_nothing(change):
    history = SolveHistory("quadratic")
    for time in range(4):
        step(history, time)
    positions, cell, key = geometry(4), CELL, "k"
    if change == "key":
        key = "another charge"
    if change == "jump":
        positions[2] += [0, 0, 1.1 * JUMP]
    if change == "order":
        positions = positions[::-1]
    if change == "count":
        positions = positions[:-1]
    if change == "cell":
        cell = CELL + 2 * JUMP * np.eye(3)
    history.begin(positions, cell, key)
    assert history.next("solve").start is None
    history.begin(geometry(5), cell, key)  # and what came before the break is forgotten
    start = history.next("solve").start
    assert start is None


def test_a_small_move_of_atoms_and_cell_goes_on():
    history = SolveHistory("last")
    step(history, 0)
    history.begin(geometry(0) + 0.9 * JUMP, CELL + 0.9 * JUMP, "k")
    assert history.next("solve").start is not None


def test_the_same_geometry_again_begins_as_it_did():
    history = SolveHistory("quadratic")
    starts = [step(history, time) for time in (0, 1, 2, 3, 3)]
    assert torch.equal(starts[-1], starts[-2])
    torch.testing.assert_close(step(history, 4), solution(4, 2))


def test_several_solves_of_a_step_don_t_mix():
    history = SolveHistory("last")
    for time in range(2):
        history.begin(geometry(time), CELL, "k")
        solves = [history.next(what) for what in ("a", "a", "b")]
        for number, this in enumerate(solves):
            assert this.start is None if time == 0 else float(this.start[0]) == number
            this.end(torch.full((3,), float(number)))


def test_a_start_of_another_shape_is_none():
    history = SolveHistory("last")
    step(history, 0)
    history.begin(geometry(1), CELL, "k")
    assert history.next("solve").start_for(torch.zeros(4, 3)) is None


def test_a_step_that_failed_leaves_nothing_to_begin_with():
    history = SolveHistory("quadratic")
    for time in range(3):
        step(history, time)
    history.begin(geometry(3), CELL, "k")
    history.next("solve")  # and no end
    assert step(history, 4) is None


@pytest.mark.parametrize("name", ["last", "fitted"])
@pytest.mark.parametrize("again", [False, True])
def test_state_goes_on_to_the_same_bit(name, again):
    history, restored = SolveHistory(name), SolveHistory(name)
    for time in range(10):
        step(history, time)
    tree, arrays = history.state()
    restored.restore(json.loads(json.dumps(tree)), [array.copy() for array in arrays])
    if again:  # a resumed run evaluates the saved geometry first
        assert torch.equal(step(restored, 9), step(history, 9))
    assert torch.equal(step(restored, 10), step(history, 10))


def test_without_a_setting_there_is_no_history():
    assert solve_history(None) is COLD and COLD.state() is None
    COLD.begin(geometry(0), CELL, "k")
    COLD.next("solve").end(torch.ones(5))
    assert COLD.next("solve").start is None
    with pytest.raises(ModelError, match="warm_start: no 'quadratc'. Did you mean 'quadratic'"):
        SolveHistory("quadratc")
