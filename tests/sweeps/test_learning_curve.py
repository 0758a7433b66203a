"""Learning curves: which runs, nested subsets, the power law, table and figure."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from eqff.comparison.run import Run
from eqff.data.splits import split_indices
from eqff.errors import ConfigError
from eqff.learning_curve import main
from eqff.sweeps.learning import LearningCurve, choice_of_subsets, not_nested, plan_curve, take_own
from eqff.sweeps.learning_report import curve_table, write_curve

SIZES = (100, 200, 400)
METRIC = "test/forces_mae"


def synthetic(error, folder=None, seeds=(0, 1), nested=True, split_seed=None):
    """A curve whose runs have the errors of a function of size and seed, and one split unless its seed is None."""
    runs = {}
    for size in SIZES:
        for seed in seeds:
            source = f"{folder}/{size}-{seed}"
            if folder is not None:
                (folder / f"{size}-{seed}").mkdir()
                split = split_indices(500, train=size, seed=seed if nested else size)
                (folder / f"{size}-{seed}" / "splits.json").write_text(json.dumps(split))
            config = {"data": {"split": {"seed": seed if split_seed is None else split_seed}}}
            metrics = {METRIC: error(size, seed), "val/forces_mae": 1.0}
            runs.setdefault(size, {})[seed] = Run(source, "x", config, metrics, units={METRIC: "meV/Å"})
    return LearningCurve(runs)


@given(exponent=st.floats(-0.5, 2.0), amplitude=st.floats(1e-3, 1e4))
def test_a_power_law_is_found_again(exponent, amplitude):
    law = synthetic(lambda size, seed: amplitude * size**-exponent).power_law(METRIC)
    assert law.exponent == pytest.approx(exponent, abs=1e-9) and law.amplitude == pytest.approx(amplitude, rel=1e-8)
    assert law.deviation == pytest.approx(0.0, abs=1e-9) and law.seeds == 2


def test_the_spread_is_that_of_seeds():
    exponents = {0: 0.4, 1: 0.6}
    law = synthetic(lambda size, seed: size ** -exponents[seed]).power_law(METRIC)
    assert law.deviation == pytest.approx(np.std([0.4, 0.6], ddof=1)) and 0.4 < law.exponent < 0.6
    assert synthetic(lambda size, seed: 1 / size, seeds=(0,)).power_law(METRIC).deviation is None


def test_subsets_hold_the_smaller_ones(tmp_path):
    (tmp_path / "good").mkdir()
    (tmp_path / "bad").mkdir()
    assert not_nested(synthetic(lambda s, _: 1 / s, tmp_path / "good")) == []
    assert len(not_nested(synthetic(lambda s, _: 1 / s, tmp_path / "bad", nested=False))) == 4


def test_table_and_files_hold_the_errors(tmp_path):
    curve = synthetic(lambda size, seed: (10 + seed) / size**0.5, tmp_path)
    table = curve_table(curve, [METRIC])
    assert table.columns == ("structures", "n", "test: forces MAE (meV/Å)")
    assert [row[0].text for row in table.rows] == ["100", "200", "400", "exponent b"]
    assert table.rows[0][2].text == "1.050 ± 0.071" and table.rows[-1][2].text == "0.50 ± 0.00"
    files = write_curve(curve, tmp_path, Console(quiet=True))
    assert files["png"].stat().st_size > 5000
    assert "| 400 | 2 | 0.525 ± 0.035 |" in files["md"].read_text()
    lines = files["csv"].read_text().splitlines()
    assert lines[0] == "structures,seed,source,test/forces_mae (meV/Å)" and len(lines) == 7


ARGV = ["data.path=a.xyz", "model=minimal"]


def test_every_size_and_seed_is_a_run_the_largest_first(tmp_path):
    runs = plan_curve(ARGV, SIZES, (0, 1), tmp_path)
    assert [run.name for run in runs[:3]] == ["train-400_seed-0", "train-400_seed-1", "train-200_seed-0"]
    assert not any("data.split.seed" in text for run in runs for text in run.overrides)  # one validation set for all
    runs = plan_curve([*ARGV, "data.val=b.xyz"], SIZES, (0, 1), tmp_path)
    assert "data.split.seed=1" in runs[1].overrides and "data.split.train=400" in runs[1].overrides


@pytest.mark.parametrize("form", ["data.split.seed=7", "++data.split.seed=0", "data.split={seed: 7}"])
def test_a_seed_of_the_split_is_kept(form, tmp_path):
    runs = plan_curve([*ARGV, "data.val=b.xyz", form], SIZES, (0, 1), tmp_path)
    assert [text for text in runs[1].overrides if "data.split" in text and "train" not in text] == [form]


def test_files_say_whether_seeds_have_subsets_of_their_own(tmp_path):
    for name, split_seed, text in (
        ("own", None, "Each seed has subsets of its own."),
        ("one", 7, "All seeds have the same subsets (data.split.seed=7)"),
    ):
        (tmp_path / name).mkdir()
        curve = synthetic(lambda size, seed: (10 + seed) / size, tmp_path / name, split_seed=split_seed)
        assert text in write_curve(curve, tmp_path / name, Console(quiet=True))["md"].read_text()
    assert choice_of_subsets(synthetic(lambda size, seed: 1.0, seeds=(0,))) == ""


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["data.split.train=5"], "given as sizes="),
        (["seed=1"], "given as sizes="),
        (["data.split.file=s.json"], "data.split.file"),
        (["data.split.by=group"], "data.split.by"),
        (["sede=1"], "no setting 'sede'"),
    ],
)
def test_settings_that_leave_no_subsets(argv, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        plan_curve([*ARGV, *argv], SIZES, (0,), tmp_path)


def test_sizes_and_seeds_are_read_in_both_ways():
    own, rest = take_own(["sizes=[400,100,200]", "seeds=0,1", "seed=3", "metrics=[forces_mae]"])
    assert own == {"sizes": [100, 200, 400], "seeds": [0, 1], "metrics": ["forces_mae"]} and rest == ["seed=3"]


@pytest.mark.parametrize("argv", [["sizes=100"], ["sizes=100,0.5"], ["sizes=100,200", "seeds=a"], ["seeds=1"]])
def test_wrong_sizes_are_one_message(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["data.path=a.xyz", *argv])
    assert stop.value.code == 1 and capsys.readouterr().err.startswith("eqff: s")
