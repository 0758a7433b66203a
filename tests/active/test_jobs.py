"""Processes of the loop: where they run, that failures say why, and that nobody is left behind."""

import os
import sys
import time

import pytest

from eqff.active.jobs import Job, Launch, run_jobs
from eqff.active.locking import locked
from eqff.errors import ConfigError, TrainingError


def python(name, code, tmp_path):
    return Job(name, [sys.executable, "-S", "-c", code], tmp_path / f"{name}.log")


def test_all_are_run_behind_the_prefix(tmp_path):
    jobs = [python(f"job{k}", f"print({k})", tmp_path) for k in range(3)]
    run_jobs(jobs, Launch(prefix=("env", "MARK=1"), workers=2))
    assert [job.log.read_text().strip() for job in jobs] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; print('why'); sys.exit(4)", r"bad ended with exit code 4.*why"),
        ("import os; os.kill(os.getpid(), 9)", r"bad was ended by signal 9.*it said nothing"),
    ],
)
def test_a_failure_says_why_and_ends_the_others(tmp_path, code, message):
    # the second writes its number once it runs, and would run for a minute
    mark = tmp_path / "number"
    long = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    wait = f"import os, time\nwhile not os.path.exists({str(mark)!r}): time.sleep(0.02)\n"
    jobs = [python("long", long, tmp_path), python("bad", wait + code, tmp_path)]
    with pytest.raises(TrainingError, match=f"(?s){message}"):
        run_jobs(jobs, Launch(workers=2))
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


def test_the_lock_lives_as_long_as_what_was_started(tmp_path):
    pytest.importorskip("fcntl")
    import subprocess

    with locked(tmp_path) as lock:
        child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,))
    with pytest.raises(ConfigError, match="is still at work"), locked(tmp_path):
        pass
    child.communicate(b"\n")
    for _ in range(200):  # the system lets go of the lock as the process ends
        try:
            with locked(tmp_path):
                return
        except ConfigError:
            time.sleep(0.02)
    pytest.fail("the lock was never released")
