"""Jobs on this machine and on submitit's stand-in for a queue, and the loop that keeps them going."""

import os
import signal
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from eqff.errors import ConfigError
from eqff.sweeps.driver import run_jobs
from eqff.sweeps.launchers import make_launcher
from eqff.sweeps.launchers.jobs import Ending, Job
from eqff.sweeps.launchers.local import ForeignHandle, LocalLauncher
from eqff.sweeps.launchers.slurm import CommandOfJob, QueuedHandle, SlurmLauncher
from eqff.sweeps.settings import SweepSettings

PATIENCE = 1200.0  # s; on a busy machine a process takes a while to start


def job(name, code):
    return Job(name, (sys.executable, "-c", code))


def wait(handle):
    deadline = time.monotonic() + PATIENCE
    while (ending := handle.ending()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return ending


def test_endings_are_told_apart(tmp_path):
    jobs = [
        job("good", "print('hello')"),
        job("wrong", "import sys; print('eqff: no such thing'); sys.exit(1)"),
        job("killed", "import os; os.kill(os.getpid(), 9)"),
        job("stopped", "import sys; sys.exit(130)"),
    ]
    outcome = run_jobs(iter(jobs), LocalLauncher(tmp_path, workers=4))
    texts = {name: str(ending) for name, ending in outcome.endings.items()}
    assert outcome.endings["good"].code == 0 and outcome.endings["good"].log.read_text() == "hello\n"
    assert texts["wrong"] == "no such thing"
    assert texts["killed"] == "killed by SIGKILL" and texts["stopped"] == "stopped by SIGINT"
    assert outcome.signal is None and outcome.left == ()


@pytest.mark.parametrize(("code", "text"), [(255, "ended with exit code 255"), (-40, "killed by signal 40")])
def test_codes_that_are_no_signals(code, text, tmp_path):
    assert str(Ending(code, tmp_path / "log")) == text


def test_after_an_error_nothing_goes_on_unseen():
    launcher = Fake(2)

    def jobs():
        yield Job("a", ())
        raise ConfigError("no")

    with pytest.raises(ConfigError):
        run_jobs(jobs(), launcher)
    assert launcher.handles["a"].stops == 1


def test_cores_are_shared_out_unless_the_user_has_said_how_many(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    launcher = LocalLauncher(tmp_path, workers=2)
    code = "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['CUDA_VISIBLE_DEVICES'])"
    run_jobs(iter([job("a", code), job("b", code)]), launcher)
    shown = sorted((tmp_path / f"{name}.log").read_text() for name in "ab")
    threads = max(1, len(os.sched_getaffinity(0)) // 2)
    assert shown == [f"{threads} 3\n", f"{threads} 5\n"]
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert launcher._share(0) == {"MKL_NUM_THREADS": "7", "CUDA_VISIBLE_DEVICES": "3"}


def test_a_process_of_an_earlier_command_is_waited_for_and_not_started_twice(tmp_path):
    waiting = job("a", f"import os, time\nwhile not os.path.exists('{tmp_path}/go'): time.sleep(0.02)")
    first = LocalLauncher(tmp_path).start(waiting)
    second = LocalLauncher(tmp_path).start(waiting)
    assert isinstance(second, ForeignHandle) and second.ending() is None
    (tmp_path / "go").touch()
    assert wait(first).code == 0
    assert wait(second).code is None
    third = LocalLauncher(tmp_path).start(waiting)
    assert not isinstance(third, ForeignHandle) and wait(third).code == 0


class Fake:
    """A launcher whose jobs end when they are told to."""

    waits, leaves = 0.0, False

    def __init__(self, slots, on_start=lambda handles: None):
        self.slots, self.handles, self.on_start, self.most = slots, {}, on_start, 0

    def start(self, job):
        handle = FakeHandle()
        self.handles[job.name] = handle
        self.most = max(self.most, sum(not h.done for h in self.handles.values()))
        self.on_start(self.handles)
        return handle


class FakeHandle:
    def __init__(self):
        self.looks, self.stops, self.done = 0, 0, False

    def ending(self):
        self.looks += 1
        self.done = self.looks > 2 or self.stops > 0
        return Ending(143 if self.stops else 0, log=None) if self.done else None

    def stop(self):
        self.stops += 1


@pytest.mark.parametrize("slots", [1, 3, None])
def test_as_many_run_as_there_are_slots(slots):
    launcher = Fake(slots)
    outcome = run_jobs(iter([Job(str(i), ()) for i in range(7)]), launcher)
    assert len(outcome.endings) == 7 and launcher.most == (slots or 7)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_what_runs_and_starts_nothing_more(number):
    def told(handles):
        if len(handles) == 3:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    launcher = Fake(2, told)
    outcome = run_jobs(iter([Job(str(i), ()) for i in range(9)]), launcher)
    assert outcome.signal == number and len(launcher.handles) == 3
    assert set(outcome.endings) == set(launcher.handles) and outcome.endings["2"].code == 143
    assert signal.getsignal(number) is before


def test_jobs_of_a_queue_stay_when_the_command_is_stopped():
    launcher = Fake(None, lambda handles: os.kill(os.getpid(), signal.SIGINT) if len(handles) == 2 else None)
    launcher.leaves = True
    outcome = run_jobs(iter([Job(str(i), ()) for i in range(2)]), launcher)
    assert outcome.left == ("0", "1") and not any(handle.stops for handle in launcher.handles.values())


def test_submitit_runs_jobs(tmp_path):
    pytest.importorskip("submitit")
    launcher = SlurmLauncher(tmp_path, parameters={"cluster": "local", "timeout_min": 5})
    jobs = [job("good", "print('hello')"), job("bad", "import sys; sys.exit(3)")]
    outcome = run_jobs(iter(jobs), launcher)
    assert {name: ending.code for name, ending in outcome.endings.items()} == {"good": 0, "bad": 3}
    assert "hello" in outcome.endings["good"].log.read_text()


def test_a_job_that_is_moved_runs_the_same_command_again(tmp_path):
    pytest.importorskip("submitit")
    command = CommandOfJob((sys.executable, "-c", ""), {"A": "b"})
    assert command() == 0
    again = command.checkpoint()
    assert again.function.command == command.command and again.function.environment == {"A": "b"}


SAVES = """
import pathlib, signal, sys
def save(*_):
    pathlib.Path(sys.argv[1], "saved").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
pathlib.Path(sys.argv[1], "ready").touch()
while True:
    signal.pause()
"""


def test_a_job_whose_time_ends_saves_before_it_is_queued_again(tmp_path, monkeypatch):
    """The queue warns all processes of the job; submitit's handler runs while the command is waited for."""
    command, found = CommandOfJob((sys.executable, "-S", "-c", SAVES, str(tmp_path)), {}), []

    def warn():
        deadline = time.monotonic() + PATIENCE
        while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(command._process.pid, signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR2)

    def handle(*_):
        start = time.monotonic()
        command.checkpoint()
        found.append(((tmp_path / "saved").exists(), time.monotonic() - start))

    pytest.importorskip("submitit")
    monkeypatch.setattr("eqff.sweeps.launchers.slurm._SAVING", 600.0)  # not the patience of a busy machine
    before = signal.signal(signal.SIGUSR2, handle)
    try:
        thread = threading.Thread(target=warn)
        thread.start()
        assert command() == 143
        thread.join()
    finally:
        signal.signal(signal.SIGUSR2, before)
    ((saved, seconds),) = found
    assert saved and seconds < 600.0


@pytest.mark.parametrize(("codes", "code"), [([0, 0], 0), ([0, 3], 3), ([143, 143], 143)])
def test_a_job_of_several_tasks_has_one_ending(codes, code, tmp_path):
    paths = SimpleNamespace(stdout=tmp_path, stderr=tmp_path)
    tasks = SimpleNamespace(done=lambda: True, exception=lambda: None, results=lambda: codes, paths=paths)
    assert QueuedHandle(tasks).ending().code == code


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cluster": "lokal"}, "Did you mean 'local'"),
        ({"cluster": "local", "timeout_mins": 5}, "Did you mean 'timeout_min'"),
        ({"cluster": "local", "timeout_min": "long"}, "sweep.slurm.timeout_min"),
    ],
)
def test_what_submitit_does_not_know(parameters, message, tmp_path):
    pytest.importorskip("submitit")
    with pytest.raises(ConfigError, match=message):
        SlurmLauncher(tmp_path, parameters=parameters)


def test_a_launcher_that_is_not_installed_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ConfigError, match=r"pip install 'eqff\[sweep\]'"):
        make_launcher(SweepSettings(launcher="slurm"), tmp_path)
