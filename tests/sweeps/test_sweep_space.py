"""What a sweep varies: Hydra's grammar, all combinations, names of runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqff.errors import ConfigError
from eqff.sweeps.planning import default_folder, plan_grid, run_names
from eqff.sweeps.settings import SweepSettings, take_settings
from eqff.sweeps.space import Interval, read_space


def test_values_and_intervals_are_told_apart():
    varied = ["seed=range(0,3)", "model/backbone=painn,schnet", "x=tag(log,interval(1e-3,1))"]
    space = read_space(["data=ions", *varied, "--config-dir", "a=b"])
    assert space.fixed == ("data=ions", "--config-dir", "a=b")
    assert space.axes == {"seed": ("0", "1", "2"), "model/backbone": ("painn", "schnet")}
    assert space.intervals == {"x": Interval(1e-3, 1.0, whole=False, logarithmic=True)}
    assert read_space(["n=int(interval(1,9))"]).intervals["n"] == Interval(1, 9, whole=True, logarithmic=False)


def test_lists_and_mappings_are_one_value():
    space = read_space(["data.labels=[energy,forces]", "data.test={far: a.xyz, near: b.xyz}", "data.path='a,b.xyz'"])
    assert not space.axes and len(space.fixed) == 3


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_the_grid_is_every_combination_once_under_a_name_of_its_own(sizes, tmp_path_factory):
    argv = [f"key{i}={','.join(str(v) for v in range(n + 1))}" for i, n in enumerate(sizes)]
    runs = plan_grid(read_space(["name=x", *argv]), tmp_path_factory.getbasetemp())
    count = 1
    for n in sizes:
        count *= n + 1
    assert len({run.overrides for run in runs}) == len({run.folder.name for run in runs}) == count
    assert all(run.overrides[0] == "name=x" and len(run.overrides) == 1 + len(sizes) for run in runs)


def test_names_are_short_and_unique():
    assert run_names([{"training.optimizer.lr": "0.01", "seed": "0"}]) == ["lr-0.01_seed-0"]
    assert run_names([{"a.x": "1", "b.x": "2"}]) == ["a.x-1_b.x-2"]  # ends alone would be the same
    assert run_names([{"data.path": "'/d/a.xyz'"}, {"data.path": "'/e/b.xyz'"}]) == ["path-a.xyz", "path-b.xyz"]
    same = run_names([{"data.path": "/d/a.xyz"}, {"data.path": "/e/a.xyz"}])
    assert len(set(same)) == 2 and all(name.startswith("path-a.xyz_") for name in same)


def test_the_folder_follows_from_the_command_and_not_from_its_order():
    first = default_folder(["seed=0,1", "name=water"])
    assert first == default_folder(["name=water", "seed=0,1"]) and first.name.startswith("water_")
    assert first != default_folder(["name=water", "seed=0,1,2"])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["seed=0,1", "seed=2,3"], "varied twice"),
        (["x=interval(2,1)"], "is empty"),
        (["x=tag(log,interval(0,1))"], "begins above 0"),
        (["data.path=glob(*)"], "give the values themselves"),
        (["seed=[0,1"], "can't be read as KEY=VALUE"),
    ],
)
def test_what_can_not_be_varied(argv, message):
    with pytest.raises(ConfigError, match=message):
        read_space(argv)


def test_a_grid_has_values_and_no_intervals(tmp_path):
    with pytest.raises(ConfigError, match="sweep.search=tpe"):
        plan_grid(read_space(["x=interval(0,1)"]), tmp_path)
    with pytest.raises(ConfigError, match="seed=0,1,2"):
        plan_grid(read_space(["x=1"]), tmp_path)


def test_settings_of_the_sweep_are_taken_out():
    argv = ["seed=0,1", "sweep.workers=2", "sweep.slurm.partition=gpu", "sweep.slurm.gpus_per_node=1"]
    settings, rest = take_settings(argv)
    assert rest == ["seed=0,1"]
    assert settings == SweepSettings(workers=2, slurm={"partition": "gpu", "gpus_per_node": 1})


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("sweep.worker=2", "Did you mean 'workers'"),
        ("sweep.workers=0", "sweep.workers is 0"),
        ("sweep.launcher=slrum", "Did you mean 'slurm'"),
        ("sweep.workers=1,2", "has one value"),
        ("sweep.trials=3", "sweep.search=tpe"),
        ("sweep.search=tpe", "needs sweep.trials"),
    ],
)
def test_wrong_settings_of_the_sweep(argument, message):
    with pytest.raises(ConfigError, match=message):
        take_settings([argument])
