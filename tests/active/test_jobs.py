"""Processes of the loop: failures say why, and what still runs from a killed loop is not started twice."""

import sys

import pytest

from eqff.active.jobs import Launch, run_jobs
from eqff.errors import DataError
from eqff.sweeps.launchers import Job


def python(name, code):
    return Job(name, (sys.executable, "-S", "-c", code))


def test_all_are_run(tmp_path):
    run_jobs([python(f"job{k}", f"print({k})") for k in range(3)], Launch(workers=2), tmp_path)
    assert [(tmp_path / f"job{k}.log").read_text().strip() for k in range(3)] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; print('why'); sys.exit(4)", r"'bad' failed: ended with exit code 4.*why"),
        ("import os; os.kill(os.getpid(), 9)", r"'bad' failed: killed by SIGKILL.*it said nothing"),
    ],
)
def test_a_failure_says_why_and_lets_the_others_end(tmp_path, code, message):
    mark = tmp_path / "done"
    jobs = [python("bad", code), python("good", f"open({str(mark)!r}, 'w')")]
    with pytest.raises(DataError, match=f"(?s){message}"):
        run_jobs(jobs, Launch(workers=2), tmp_path, DataError)
    assert mark.exists()


def test_a_program_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="'no_such_program' can't be run"):
        run_jobs([Job("bad", ("no_such_program",))], Launch(), tmp_path, DataError)
