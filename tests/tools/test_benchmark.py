"""The benchmark's own logic: jobs in turn, going on, failures in words, medians, ratios, exponents."""

import json
import os
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

from benchmarks import tables  # noqa: E402
from benchmarks.jobs import Job, Places, comparison  # noqa: E402
from benchmarks.run import Records, run_rounds  # noqa: E402
from benchmarks.sizes import add_batches  # noqa: E402

from eqff.errors import ConfigError  # noqa: E402

HARNESS = """
import json, sys, types
wl = types.SimpleNamespace(TRAIN={})
class Peer: pass
def main(cls): cls().run(sys.argv)
"""
SCRIPT = """
import json, common
class Fake(common.Peer):
    def run(self, arguments):
        value = dict(zip(arguments[1::2], arguments[2::2]))
        if value["--mode"] == "broken":
            print("warming up"); raise ValueError("no such mode here")
        print("chatter")
        print(json.dumps({"peer": "fake", "workload": value["--workload"], "what": "train_step", "cpu_s": 0.1}))
"""


@pytest.fixture
def places(tmp_path):
    folder, python = tmp_path / "folder", tmp_path / "environments" / "fake" / "bin" / "python"
    folder.mkdir()
    python.parent.mkdir(parents=True)
    os.symlink(sys.executable, python)
    (folder / "common.py").write_text(HARNESS)
    (folder / "bench_fake.py").write_text(SCRIPT)
    return Places(folder, tmp_path / "environments", tmp_path / "cache", budget=0.1)


def row(package, cpu, *, number=0, what="train_step", workload="ethanol32", mode="eager", atoms=288, **others):
    timed = {"cpu_s": cpu, "s_per_step": 2 * cpu, "peak_rss_mb": 500, "warmup_s": 3.0, "other_cpu": 0.0}
    about = {"peer": package, "config": "matched", "mode": mode, "what": what, "workload": workload, "threads": 1}
    return about | timed | {"atoms": atoms, "edges": 8 * atoms, "round": number, "key": "k"} | others


def test_packages_of_a_ratio_run_next_to_each_other():
    jobs = list(comparison(["eqff", "nequip"], ["ethanol32"], ["aspirin"], [1, 2], {"nequip.infer": "eager,aot"}))
    told = [(j.package, j.task, j.threads, j.mode) for j in jobs]
    assert told[:2] == [("eqff", "train", 1, "compile"), ("nequip", "train", 1, "compile")]
    assert told[4:7] == [("eqff", "infer", 1, "aot"), ("nequip", "infer", 1, "eager"), ("nequip", "infer", 1, "aot")]
    assert len({job.key for job in jobs}) == len(jobs)


def test_it_goes_on_where_it_stopped(places, tmp_path):
    records, job = Records(tmp_path / "points.jsonl"), Job("fake", "train", ("ethanol32",))
    assert run_rounds([job], 1, places, records, None, 60) == []
    with records.path.open("a") as file:
        file.write('{"cut off by a ki')
    assert run_rounds([job], 2, places, records, None, 60) == []
    assert [found["round"] for found in records.rows()] == [0, 1]
    assert run_rounds([job], 2, places, records, 0.0, 60) == [] and len(records.rows()) == 2


def test_results_of_other_code_are_not_taken_for_today_s(tmp_path):
    job, peer = Job("eqff", "train", ("ethanol32",)), Job("mace", "train", ("ethanol32",))
    rows = [row("eqff", 0.03, key=job.key), row("mace", 0.2, key=peer.key)]
    Records(tmp_path / "points.jsonl").add([rows[0], rows[1], rows[0] | {"code": "old", "cpu_s": 0.02}])
    records = Records(tmp_path / "points.jsonl", "new")
    assert records.done() == {(peer.key, 0)}
    found, codes = records.current({job.key, peer.key})
    assert [r["cpu_s"] for r in found] == [0.2, 0.02] and codes == ["old"]
    records.add([rows[0] | {"code": "new", "cpu_s": 0.01}])
    assert records.done() == {(peer.key, 0), (job.key, 0)}
    found, codes = records.current({job.key})
    assert [r["cpu_s"] for r in found] == [0.01] and not codes


def test_a_failure_is_told_in_its_own_words_and_tried_again(places, tmp_path):
    records, job = Records(tmp_path / "points.jsonl"), Job("fake", "train", ("ethanol32",), mode="broken")
    for _ in range(2):
        (error,) = run_rounds([job], 1, places, records, None, 60)
        assert "ValueError: no such mode here" in error and "exit code 1" in error
    assert len(records.rows()) == 2 and not records.done()


def test_what_is_missing_is_named(places):
    places.check(["eqff", "fake"])
    with pytest.raises(ConfigError, match=r"no script bench_fakes\.py.*'fake'"):
        places.check(["fakes"])
    (places.environments / "fake" / "bin" / "python").unlink()
    with pytest.raises(ConfigError, match=r"setup\.sh fake"):
        places.check(["fake"])
    (places.folder / "common.py").unlink()
    with pytest.raises(ConfigError, match="--peers-folder"):
        places.check([])


def test_ratios_pair_rounds():
    """A machine that slows down in the second round changes no ratio."""
    rows = [row("eqff", 0.01), row("nequip", 0.04), row("eqff", 0.03, number=1), row("nequip", 0.12, number=1)]
    own, other = tables.timings(rows)
    assert tables.ratio(own, other, "cpu") == pytest.approx(0.25)
    assert (own.best("cpu"), own.best("wall")) == pytest.approx((20.0, 40.0))


def test_targets_are_held_against_the_fastest_mode():
    rows = [row("eqff", 0.02), row("nequip", 0.1), row("nequip", 0.04, mode="compile"), row("mace", 0.3)]
    nequip, mace = tables.verdicts(tables.timings(rows))
    assert "0.50 of nequip, compile" in nequip and "not met" in nequip
    assert "0.07 of mace" in mace and mace.endswith("met. Memory 1.00.")


def test_configurations_of_eqff_take_turns_and_have_ratios_of_their_own():
    jobs = list(comparison(["eqff", "mace"], ["ethanol32"], [], [1], {}, ["matched", "lean"]))
    assert [(j.package, j.config) for j in jobs] == [("eqff", "matched"), ("eqff", "lean"), ("mace", "matched")]
    found = tables.timings([row("eqff", 0.02), row("eqff", 0.01, config="lean"), row("mace", 0.2)])
    assert "| eqff lean, eager | 10 |" in tables.markdown(found) and "| 0.05 / 0.10 |" in tables.markdown(found)
    lean, matched = tables.verdicts(found)
    assert "eqff lean, eager 0.05 of mace" in lean and "eqff, eager 0.10 of mace" in matched


def test_growth_is_of_boxes_of_water_alone():
    rows = [row("eqff", 1e-3 * n**1.1, what="with_nl", workload=f"water{n}", atoms=n) for n in (192, 648, 5184)]
    rows.append(row("eqff", 5.0, what="with_nl", workload="aspirin", atoms=21))
    assert tables.growth(tables.timings(rows)) == [
        "eqff, eager, with_nl, 1 thread(s), cpu: N^1.10 from 192 to 5184 atoms"
    ]


def test_tables_name_all_and_leave_failures_out():
    text = tables.markdown(tables.timings([row("eqff", 0.02), row("mace", 0.3), {"key": "k", "error": "x"}]))
    assert "| ethanol32 | 288 | 2304 | eqff, eager | 20 |" in text and "| 0.07 |" in text


def test_batches_of_any_size():
    class Workload:
        TRAIN = {"aspirin5": ("aspirin", 5)}

    add_batches(Workload, "aspirin200,ethanol32,water192")
    assert Workload.TRAIN == {"aspirin5": ("aspirin", 5), "aspirin200": ("aspirin", 200), "ethanol32": ("ethanol", 32)}


def test_command_without_harness(tmp_path, capsys):
    import benchmark

    assert benchmark.main(["--folder", str(tmp_path / "b"), "--peers-folder", str(tmp_path)]) == 2
    assert "common.py" in capsys.readouterr().err


def test_tables_of_what_is_there(places, tmp_path, capsys):
    import benchmark

    options = ["--folder", str(tmp_path / "b"), "--peers-folder", str(places.folder), "--rounds", "0", "--infer"]
    job = Job("eqff", "train", ("ethanol32", "aspirin5"), mode="compile")
    Records(tmp_path / "b" / "points.jsonl").add([row("eqff", 0.02, key=job.key)])
    assert benchmark.main([*options, "--json", str(tmp_path / "out.json")]) == 0
    assert "Training step" in capsys.readouterr().out
    assert json.loads((tmp_path / "out.json").read_text())["timings"][0]["cpu"] == {"0": 20.0}


def test_none_is_no_workload(places, tmp_path):
    import benchmark

    folders = ["--folder", str(tmp_path / "b"), "--peers-folder", str(places.folder)]
    assert benchmark.main([*folders, "--train", "none", "--infer", "none", "--rounds", "1"]) == 0


def test_sweeps_fit_what_they_vary():
    from benchmarks.sweeps import SWEEPS, table

    sweep = SWEEPS["degree"]
    jobs = [sweep.job(value, "infer") for value in sweep.values]
    assert len({job.key for job in jobs}) == len(jobs) and "degree=3" in jobs[-1].config
    assert "nothing" in table("degree", sweep, jobs, [], "cpu")
    rows = [
        row("eqff", 1e-3 * (v + 1) ** 3, what="with_nl", key=j.key) for v, j in zip(sweep.values, jobs, strict=True)
    ]
    assert "with_nl 1.50 (1.50 over the larger half)" in table("degree", sweep, jobs, rows, "cpu")


def test_long_range_leaves_out_what_is_not_there(tmp_path, monkeypatch):
    from benchmarks import long_range

    titles = [title for title, _ in long_range.commands(tmp_path, None, None)]
    assert len(titles) == 2 and not any("beside" in title for title in titles)
    every = list(long_range.commands(tmp_path, Path("openmm-python"), Path("pme-python")))
    assert len(every) == 4
    monkeypatch.setattr(
        long_range, "commands", lambda *given: iter([("good", [sys.executable, "-c", "0"]), ("bad", ["false"])])
    )
    assert long_range.run(tmp_path, None, None) == 1
