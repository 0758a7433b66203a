"""Schedules end when the budget does, whatever it is counted in."""

import math
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqff.errors import ConfigError
from eqff.training.budget import Budget, BudgetSettings, Clocks, CpuClock, Limit, epoch_limit, timed_limits
from eqff.training.callbacks.pacing import Pacing
from eqff.training.schedules import SHAPES, Schedule

SHARE = st.floats(0, 1)


@given(st.sampled_from(sorted(SHAPES)), st.floats(0, 0.4), st.floats(0, 0.9), SHARE, SHARE, SHARE)
def test_factor_stays_in_bounds_and_falls(shape, warmup, hold, final, one, other):
    schedule = Schedule(shape, warmup, hold, final)
    early, late = sorted((one, other))
    assert 0.0 <= schedule.factor(early) <= 1.0 + 1e-12
    if early >= warmup:
        assert schedule.factor(late) <= schedule.factor(early) + 1e-12
        assert schedule.factor(late) >= final - 1e-12


@pytest.mark.parametrize("shape", [name for name in sorted(SHAPES) if name != "constant"])
def test_ends_at_final(shape):
    assert Schedule(shape, final=0.05).factor(1.0) == pytest.approx(0.05)
    assert Schedule(shape, warmup=0.1).factor(0.1) == pytest.approx(1.0)
    assert Schedule(shape, warmup=0.1, hold=0.5).factor(0.5) == pytest.approx(1.0)


def test_shapes():
    assert Schedule("linear", warmup=0.0).factor(0.25) == pytest.approx(0.75)
    assert Schedule("cosine", warmup=0.0).factor(0.25) == pytest.approx(0.5 + 0.5 * math.cos(math.pi / 4))
    assert Schedule("linear", warmup=0.2).factor(0.05) == pytest.approx(0.25)


def test_the_nearest_limit_rules():
    used = {"a": 3.0, "b": 1.0}
    budget = Budget([Limit("a", 12.0, lambda: used["a"], timed=True), Limit("b", 10.0, lambda: used["b"])])
    assert budget.fraction == pytest.approx(0.25)
    used["b"] = 9.0
    assert budget.fraction == pytest.approx(0.9)
    assert not budget.spent(5.0)  # b is counted in steps, and a has room
    assert budget.spent(9.5)


def test_resumed_budgets_count_on():
    budget = Budget([Limit("CPU seconds", 10.0, lambda: 2.0, timed=True)])
    resumed = Budget([Limit("CPU seconds", 10.0, lambda: 1.0, timed=True)])
    resumed.load_state_dict(budget.state_dict())
    assert resumed.fraction == pytest.approx(0.3)


def test_progress_starts_after_start_up():
    """Imports and compilation are in the budget; the schedule still goes through all of its course."""
    used = 0.0
    budget = Budget([Limit("CPU seconds", 10.0, lambda: used, timed=True), Limit("steps", 8.0, lambda: 1.0)])
    used = 6.0
    assert (budget.fraction, budget.progress) == (0.6, 0.125)  # a step in eight
    budget.start()
    used = 8.0
    assert (budget.fraction, budget.progress) == (0.8, 0.5)
    budget.start()  # noted once
    resumed = Budget([Limit("CPU seconds", 10.0, lambda: 1.0, timed=True)])
    resumed.load_state_dict(budget.state_dict())
    assert resumed.progress == pytest.approx(0.75)


def test_cpu_clock_counts_children():
    clock = CpuClock(refresh_seconds=0.0)
    before = clock()
    subprocess.run([sys.executable, "-c", "x = 0\nfor i in range(4_000_000): x += i"], check=True)
    spent = clock() - before
    assert spent > 0.05
    clocks = Clocks(since_process_start=False)
    assert clocks.functions["cpu_seconds"]() < 0.5 * sum(os.times()[:2])  # imports alone took longer
    assert Clocks(since_process_start=True).functions["cpu_seconds"]() >= sum(os.times()[:2]) - 0.1


def test_epoch_limit():
    plain, timed = BudgetSettings(default_epochs=7), BudgetSettings(cpu_seconds=3)
    assert epoch_limit(plain, None, -1) == 7
    assert epoch_limit(plain, None, 100) == -1
    assert epoch_limit(timed, None, -1) == -1
    assert epoch_limit(timed, 3, -1) == 3
    limits = timed_limits(timed, {"cpu_seconds": float, "wall_seconds": float})
    assert [limit.name for limit in limits] == ["CPU seconds"]


def test_messages():
    with pytest.raises(ConfigError, match="Did you mean 'cosine'"):
        Schedule("cosin")
    with pytest.raises(ConfigError, match="warmup must be between 0 and 1"):
        Schedule(warmup=5)
    with pytest.raises(ConfigError, match="wall_seconds must be positive"):
        BudgetSettings(wall_seconds=-1)


@given(st.integers(1, 3), st.integers(3, 40))
def test_no_step_overruns_the_budget(accumulate, seconds):
    """However few there are, and none is left half done: gradients that are only gathered are lost at the end."""
    clock = SimpleNamespace(now=0.0)
    budget = Budget([Limit("wall seconds", float(seconds), lambda: clock.now, timed=True)])
    pacing = Pacing(budget, Schedule(), clock=lambda: clock.now)
    trainer = SimpleNamespace(
        optimizers=[SimpleNamespace(param_groups=[])], accumulate_grad_batches=accumulate, max_steps=-1, max_epochs=-1,
        num_training_batches=100, val_check_batch=100, current_epoch=0, global_step=0, should_stop=False,
    )  # fmt: skip
    batches = 0
    while not trainer.should_stop:
        pacing.on_train_batch_start(trainer, SimpleNamespace(), None, batches)
        clock.now, batches = clock.now + 1.0, batches + 1
        trainer.global_step = batches // accumulate
        pacing.on_train_batch_end(trainer, SimpleNamespace(), None, None, batches - 1)
    assert batches == seconds // accumulate * accumulate
