"""What W&B gets of a run: its group, tables of errors, and its files as artifacts that stay in the run folder."""

import json
from pathlib import Path

import pytest

from eqff.comparison.wandb_log import find_log, read_log, read_records
from eqff.tracking.wandb_artifacts import error_lines


@pytest.fixture(scope="module")
def records(trained):
    (folder,) = (trained / "wandb").glob("offline-run-*")
    return [record for record in read_records(find_log(folder)) if record is not None]


def of_kind(records, kind):
    return [getattr(record, kind) for record in records if record.WhichOneof("record_type") == kind]


def test_runs_of_one_name_are_a_group(records):
    run = of_kind(records, "run")[0]
    assert (run.run_group, run.job_type, run.display_name) == ("small", "train", "small")


def test_artifacts_are_the_files_of_the_run(trained, records):
    artifacts = {artifact.type: artifact for artifact in of_kind(records, "artifact")}
    inside = {
        "dataset": {"data_report.json", "data_report.txt", "splits.json"},
        "model": {"model.safetensors"},
        "report": {"report.md", "result.json", "evaluation/far.json", "evaluation/far_parity.png"},
    }
    for kind, names in inside.items():
        entries = {entry.path: Path(entry.local_path) for entry in artifacts[kind].manifest.contents}
        assert names <= set(entries)
        assert all(path.is_relative_to(trained) and path.is_file() for path in entries.values())
    hashed = json.loads((trained / "run.json").read_text())["data_hash"]
    assert json.loads(artifacts["model"].metadata)["data_hash"] == hashed


def test_tables_hold_the_errors_of_the_run(trained):
    whole, parts = error_lines(trained)
    metrics = json.loads((trained / "result.json").read_text())["metrics"]
    assert {f"far/{quantity}_mae": mae for _, quantity, _, mae, *_ in whole} == {
        name: value for name, value in metrics.items() if name.startswith("far/") and name.endswith("_mae")
    }
    assert {part for _, kind, part, *_ in parts if kind == "group"} == {"a", "b"}


def test_the_log_says_how_the_run_ended(trained):
    (folder,) = (trained / "wandb").glob("offline-run-*")
    log = read_log(folder)
    assert log.complete and log.exit_code == 0
    assert log.summary["kept"] == "best" and log.summary["interrupted"] is False
    assert all("cpu_seconds" in row for row in log.history if "val/loss" in row)
