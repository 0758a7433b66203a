"""Runs read from folders and from W&B's log: the same numbers, nothing lost, and a sentence for what is broken."""

import json
import shutil

import pytest
import wandb
from changed_runs import setter
from hypothesis import given
from hypothesis import strategies as st

from eqff.comparison import State, read_runs
from eqff.comparison.wandb_log import read_log
from eqff.comparison.wandb_runs import make_run, read_project
from eqff.errors import ConfigError, DataError
from eqff.tracking.costs import continued, cost_of, without_replaced


def only(*sources, **options):
    (run,) = read_runs(*sources, **options).runs
    return run


def offline(trained):
    (folder,) = (trained / "wandb").glob("offline-run-*")
    return folder


def test_a_folder_gives_what_its_files_say(trained):
    run, result = only(trained), json.loads((trained / "result.json").read_text())
    assert run.metrics == pytest.approx(result["metrics"])
    assert run.state is State.FINISHED and run.name == "small" and run.sets == ("val", "far")
    assert run.units["far/forces_mae"] == "meV/Å" and run.units["far/energy_max"] == "meV"
    assert run.cost.steps == result["step"] == 6 and run.cost.epochs == 3
    report = (trained / "report.md").read_text()
    assert f"{run.cost.parameters:,} weights" in report
    assert set(run.errors_by["far"]["group"]) == {"a", "b"} and run.predictions["far"].is_file()


def test_parameters_of_older_folders_are_counted_in_the_model(trained, copy):
    older = copy("older", json_files={"run.json": lambda about: [about.pop(k) for k in ("format", "parameters")]})
    assert only(older).cost.parameters == only(trained).cost.parameters


def test_wandb_log_alone_gives_the_same_run(trained, tmp_path):
    alone = tmp_path / offline(trained).name
    shutil.copytree(offline(trained), alone)
    run, reference = only(alone), only(trained)
    assert run.metrics == pytest.approx(reference.metrics)
    assert run.config == reference.config and run.data == reference.data and run.state is State.FINISHED
    assert {name: run.units[name] for name in run.metrics if name in reference.units} == {
        name: unit for name, unit in reference.units.items() if name in run.metrics
    }
    assert len(run.rows) == len(reference.rows)
    for one, other in zip(run.rows, reference.rows, strict=True):
        assert one["step"] == other["step"] and one["cpu_seconds"] == pytest.approx(other["cpu_seconds"], abs=0.1)
    assert run.cost.parameters == reference.cost.parameters and run.cost.steps == reference.cost.steps


def test_an_offline_folder_in_its_run_folder_is_that_folder(trained):
    found = read_runs(trained, offline(trained), next(offline(trained).glob("*.wandb")))
    assert [run.source for run in found.runs] == [str(trained)]
    assert sum("named twice" in problem for problem in found.problems) == 2


@given(cut=st.floats(0.0, 0.999))
def test_a_log_that_is_cut_off_anywhere_gives_what_comes_before(trained, tmp_path_factory, cut):
    whole = next(offline(trained).glob("*.wandb"))
    content = whole.read_bytes()
    path = tmp_path_factory.mktemp("cut") / "run-x.wandb"
    path.write_bytes(content[: int(cut * len(content))])
    full = read_log(whole)
    try:
        log = read_log(path)
    except DataError as error:
        assert "no log of W&B" in str(error) or "before W&B wrote" in str(error)
        return
    assert log.history == full.history[: len(log.history)] and log.exit_code is None


def test_a_damaged_log_is_refused(trained, tmp_path):
    content = bytearray(next(offline(trained).glob("*.wandb")).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "run-x.wandb").write_bytes(content)
    with pytest.raises(DataError, match="damaged at byte"):
        read_log(tmp_path)


def test_a_killed_run_loses_its_cut_line_and_nothing_else(trained, copy):
    killed = copy("killed", drop=["result.json", "evaluation"])
    with (killed / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "val/lo')
    run = only(killed)
    assert run.state is State.UNFINISHED and len(run.rows) == len(only(trained).rows)
    assert any("last line is no whole row" in note for note in run.notes)
    best = min((row for row in run.rows if "val/loss" in row), key=lambda row: row["val/loss"])
    assert run.metrics == {name: value for name, value in best.items() if name.startswith("val/")}


def test_an_interrupted_run_is_marked(copy):
    assert (
        only(copy("stopped", json_files={"result.json": setter("interrupted", value=True)})).state is State.INTERRUPTED
    )


def test_sources_of_every_kind(copy, tmp_path, monkeypatch):
    for name in ("b-0", "b-1", "a-0"):
        copy(name)
    (tmp_path / "runs" / "table.md").write_text("no run")
    monkeypatch.chdir(tmp_path)
    sources = {
        "runs": ["a-0", "b-0", "b-1"],
        ".": ["a-0", "b-0", "b-1"],
        "runs/*": ["a-0", "b-0", "b-1"],
        "runs/b-*": ["b-0", "b-1"],
        "runs/b-1/config.yaml": ["b-1"],
    }
    for source, names in sources.items():
        assert [run.source.rpartition("/")[2] for run in read_runs(source).runs] == names, source
    twice = read_runs("runs/b-0", "runs")
    assert len(twice.runs) == 3 and len(twice.problems) == 1


def test_broken_folders_are_left_out_with_a_reason(trained, copy):
    def newer(about):
        about["format"] = 99

    bad = {
        "no_rows": ({"drop": ["metrics.jsonl", "result.json"]}, "has no metrics"),
        "newer": ({"json_files": {"run.json": newer}}, "newer eqff"),
        "no_config": ({"drop": ["config.yaml"]}, "no run folder"),
    }
    for name, (changes, _) in bad.items():
        copy(name, **changes)
    torn = copy("torn")
    (torn / "result.json").write_text('{"metrics": {')
    found = read_runs(trained, torn, *(torn.parent / name for name in ("no_rows", "newer")))
    assert len(found.runs) == 1
    for message in ("has no metrics", "newer eqff", "no JSON any more"):
        assert sum(message in problem for problem in found.problems) == 1
    with pytest.raises(DataError, match="No run to compare.*\n.*has no metrics"):
        read_runs(torn.parent / "no_rows")
    with pytest.raises(DataError, match="No run to compare"):
        read_runs(torn.parent / "no_config")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("none*", "Nothing matches"),
        ("/no/where/deep", "There is no '/no/where/deep'"),
        ("empty", "No run to compare in"),
    ],
)
def test_sources_that_lead_nowhere(source, message, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ConfigError, DataError), match=message):
        read_runs(source)


class FakeRun:
    """A run as ``wandb.Api`` gives one."""

    def __init__(self, log, state="finished"):
        self.id, self.name, self.state = log.run_id, log.name, state
        self.config, self.summary, self.history = log.config, log.summary, log.history

    def scan_history(self):
        return iter(self.history)


class FakeApi:
    """Remembers what it was asked for."""

    def __init__(self, *found):
        self.found = found

    def runs(self, path, filters):
        self.asked = path, filters
        if path == "team/none":
            raise wandb.errors.CommError("project not found")
        return list(self.found)


def test_runs_of_a_project(trained):
    log = read_log(offline(trained))
    api = FakeApi(FakeRun(log), FakeRun(log, "crashed"))
    found = read_runs("team/project", filters={"group": "g"}, api=api)
    assert api.asked == ("team/project", {"group": "g"})
    whole, crashed = found.runs
    assert whole.metrics == pytest.approx(only(trained).metrics) and whole.source == f"team/project/{log.run_id}"
    assert whole.state is State.FINISHED and crashed.state is State.UNFINISHED
    with pytest.raises(ConfigError, match="is no folder here.*project not found"):
        read_project("team/none", api=api)


def test_without_an_account_a_project_is_a_clear_error(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_API_KEY", "")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)

    def refused(**_):
        raise wandb.errors.UsageError("No API key configured.")

    monkeypatch.setattr(wandb, "Api", refused)
    with pytest.raises(ConfigError, match="is no folder here.*No API key"):
        read_runs("runs/typo")


_SECONDS = st.lists(st.floats(0.01, 50.0), min_size=1, max_size=4)


@given(processes=st.lists(_SECONDS, min_size=1, max_size=4), between=st.floats(5.0, 1e5))
def test_clocks_of_a_resumed_run_go_on(processes, between):
    """Every process counts from zero; its start is known from the time of day, even if its clock never falls."""
    rows, day = [], 0.0
    for seconds in processes:
        clock = 0.0
        for step in seconds:
            clock += step
            row = {"step": len(rows) + 1, "time": day + clock, "wall_seconds": clock, "cpu_seconds": 0.9 * clock}
            rows.append(row)
        day += clock + between
    total = sum(map(sum, processes))
    cost = cost_of(continued(rows), {}, None, None)
    assert cost.wall_seconds == pytest.approx(total) and cost.cpu_seconds == pytest.approx(0.9 * total)
    assert cost.steps == len(rows)
    assert cost_of(rows, {"CPU seconds": {"total": 9, "used": 8.5}}, 3, 7).cpu_seconds == 8.5


def test_a_clock_that_lags_is_that_of_the_same_process():
    """Validations of several ranks were written with the clocks of the step before."""
    rows = [(100.0, 100.0), (140.0, 100.0), (200.0, 200.0), (260.0, 200.0), (300.0, 300.0)]
    found = continued([{"step": 1, "time": 1e9 + time, "wall_seconds": wall} for time, wall in rows])
    assert [row["wall_seconds"] for row in found] == [wall for _, wall in rows]


def test_rows_that_were_written_again_count_once():
    """Killed after step 40, gone on from the state of step 20: plain files drop what came after it, W&B can't."""
    first = [{"step": step, "time": 1e9 + step, "wall_seconds": 1.0 * step} for step in (10, 20, 20, 30, 40)]
    second = [{"step": step, "time": 2e9 + step, "wall_seconds": 50.0 + step} for step in (30, 40, 50)]
    found = continued(without_replaced([*first, *second]))
    assert [row["step"] for row in found] == [10, 20, 20, 30, 40, 50]
    assert cost_of(found, {}, None, None).wall_seconds == 20 + 100
    assert without_replaced(first) == first
    log = [{"trainer/global_step": row["step"], "_timestamp": row["time"], **row} for row in (*first, *second)]
    assert make_run("x", "x", {}, {}, log, ended=False).rows == found


def test_clocks_without_the_time_of_day_go_on_where_they_fall():
    rows = [{"step": n, "cpu_seconds": s} for n, s in enumerate((1.0, 5.0, 2.0, 3.0, 1.0))]
    assert [row["cpu_seconds"] for row in continued(rows)] == [1.0, 5.0, 7.0, 8.0, 9.0]
