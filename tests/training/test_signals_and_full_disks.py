"""Real processes: Ctrl-C, SIGTERM, kill -9, and a disk that is full. What was saved stays, and the way on is told."""

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eqff.checkpoints.atomic import remove_leftovers, replacing
from eqff.errors import StorageError
from eqff.tracking.run_folder import RunFolder
from eqff.train import main, train
from eqff.training.callbacks.persistence import Persistence
from eqff.training.module import ForceFieldModule
from eqff.training.resuming import saved_state

TOOLS = Path(__file__).parents[2] / "tools"
unix = pytest.mark.skipif(os.name == "nt", reason="Windows has no signals for one child")


def start(water_file, folder, *settings, **options):
    """A training that lasts until it is stopped."""
    command = [sys.executable, "-m", "eqff.train", f"data.path={water_file}", "model=minimal", "tracking=none"]
    command += ["figures=false", "trainer.max_epochs=100000", f"output={folder}", "training.validations=1000"]
    command += ["training.save_every_seconds=0.01", "trainer.log_every_n_steps=5", "trainer.accelerator=cpu"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, *settings], cwd=folder.parent, **pipes, **options)


PATIENCE = 1200
"""Seconds until a process counts as hanging: imports alone have taken minutes on a machine that does other things."""


def wait_for(condition, process):
    deadline = time.monotonic() + PATIENCE
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()[1]
    assert condition(), f"nothing has happened for {PATIENCE} s"


@unix
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_stops_in_good_order(water_file, tmp_path, number, code):
    """State and model are there, the last line is the command to go on with, and the exit code is the shells'."""
    folder = RunFolder(tmp_path / "run")
    process = start(water_file, folder.path)
    wait_for(folder.last_checkpoint.is_file, process)
    process.send_signal(number)
    out, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, error
    last = out.strip().splitlines()[-1]
    assert last.endswith(f"To go on: python -m eqff.train resume={folder.path}")
    assert f"the state of step {saved_state(folder).step} is saved" in last
    assert folder.model.is_file()
    assert "Traceback" not in error


@unix
@pytest.mark.slow
def test_second_signal_stops_at_once(water_file, tmp_path):
    """While validation lasts (here for ever), the first signal waits, the second doesn't."""
    folder = RunFolder(tmp_path / "run")
    hook = tmp_path / "sitecustomize.py"
    hook.write_text(
        "import sys, time\n"
        "def slow(self, trainer, module):\n"
        "    if trainer.global_step >= 5:\n"
        "        open('validating', 'w').close()\n"
        "        time.sleep(1000)\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'eqff.training.fitting':\n"
        "            sys.meta_path.remove(self)\n"
        "            from eqff.training.callbacks.last_batch import LastBatch\n"
        "            LastBatch.on_validation_start = slow\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    process = start(water_file, folder.path, env=environment)
    wait_for((tmp_path / "validating").is_file, process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, error
    last = out.strip().splitlines()[-1]
    assert "Stopped at once. The state of step " in last
    assert last.endswith(f"python -m eqff.train resume={folder.path}")
    assert saved_state(folder).step > 0
    assert "Traceback" not in error


@unix
@pytest.mark.slow
def test_a_write_beyond_the_limit_of_the_system(water_file, tmp_path):
    """A process that may write no more than some kilobytes per file: one message, nothing half-written."""

    def few_bytes():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    folder = RunFolder(tmp_path / "run")
    process = start(water_file, folder.path, preexec_fn=few_bytes)
    _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "last.ckpt' could not be written: [Errno 27] File too large" in error
    assert "Make room" in error
    assert "No state was written yet" in error
    assert "Traceback" not in error
    assert not list((folder.path / "checkpoints").iterdir())


def test_signals_are_given_back_after_an_error(compose, monkeypatch):
    """Else Ctrl-C would no longer end the program that has tried to train."""

    def broken(self, *args):
        raise RuntimeError("a fault of the program")

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr(ForceFieldModule, "training_step", broken)
    with pytest.raises(RuntimeError, match="a fault of the program"):
        train(compose())
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_full_disk_keeps_the_last_state(compose, monkeypatch):
    """The disk fills up while the third state is written; with room again, the run goes on to the same end."""
    settings = ["trainer.max_epochs=2", "training.save_every_seconds=1e-9"]
    whole = train(compose(*settings, output="whole"))
    count = [0]

    def full(self, content):
        count[0] += 1
        if count[0] == 4:
            with self.open("wb") as file:
                file.write(bytes(content)[:1000])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with self.open("wb") as file:
            return file.write(content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        expected = (
            r"(?s)last.ckpt' could not be written.*No space left.*MiB are free.*untouched.*step 3 is kept.*resume="
        )
        with pytest.raises(StorageError, match=expected):
            train(compose(*settings, output="parts"))
    folder = RunFolder(whole.folder.parent / "parts")
    assert sorted(path.name for path in folder.last_checkpoint.parent.iterdir()) == ["last.ckpt", "previous.ckpt"]
    result = train(compose(f"resume={folder.path}"), [])
    assert result.metrics == whole.metrics


def test_a_disk_without_room_for_a_folder(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(StorageError, match="MiB are free there; nothing stood there before"):
        with replacing(tmp_path / "new" / "deeper" / "file"):
            pass


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError()])
def test_a_file_is_whole_or_untouched(tmp_path, fault):
    path, previous = tmp_path / "state", tmp_path / "state.before"
    path.write_text("old")
    with pytest.raises((StorageError, KeyboardInterrupt, ValueError)) as raised, replacing(path, previous) as temporary:
        temporary.write_text("half")
        raise fault
    assert (raised.type is StorageError) == isinstance(fault, OSError)
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["state"]


@pytest.mark.parametrize("links", [True, False])
def test_the_one_before_is_kept(tmp_path, monkeypatch, links):
    """Also on file systems without hard links."""

    def refuse(*args):
        raise OSError(errno.EPERM, "no links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    path, previous = tmp_path / "state", tmp_path / "before"
    for content in ("one", "two", "three"):
        with replacing(path, previous) as temporary:
            temporary.write_text(content)
    assert (path.read_text(), previous.read_text()) == ("three", "two")
    assert len(list(tmp_path.iterdir())) == 2


def test_leftovers_of_killed_processes_are_removed(tmp_path):
    for name in (".last.ckpt.abc123.ckpt", ".last.ckpt.link", "last.ckpt", ".other.ckpt.x"):
        (tmp_path / name).write_text("x")
    remove_leftovers(tmp_path / "last.ckpt")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.ckpt.x", "last.ckpt"]


def test_every_moment_of_a_write_can_be_the_last(tmp_path, monkeypatch):
    """Whichever system call a kill comes before, the state there is the old one or the new one."""
    path, previous = tmp_path / "state", tmp_path / "before"

    class Killed(BaseException):
        pass

    names = [(os, "fsync"), (os, "link"), (Path, "replace"), (Path, "chmod")]
    for place, name in names:
        for call in range(3):
            path.write_text("old")
            count = [0]
            original = getattr(place, name)

            def dying(*args, _original=original, _call=call, _count=count):
                _count[0] += 1
                if _count[0] > _call:
                    raise Killed
                return _original(*args)

            with monkeypatch.context() as patch:
                patch.setattr(place, name, dying)
                try:
                    with replacing(path, previous) as temporary:
                        temporary.write_text("new")
                except Killed:
                    pass
            assert path.read_text() in ("old", "new")


class Forked:
    """Stands in for `subprocess.Popen`: the training runs in a fork of this process, which needs no imports."""

    returncode = None

    def __init__(self, command, **options):
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            sys.stdout = sys.stderr = open("fork.log", "a", buffering=1)
            sys.argv = command[2:]
            code = 1
            try:
                main()
                code = 0
            except SystemExit as stop:
                code = int(stop.code or 0)
            finally:
                os._exit(code)

    def poll(self):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self):
        while self.poll() is None:
            time.sleep(0.02)
        return self.returncode


@pytest.mark.slow  # that a stopped run goes on to the bit is tested in test_resume, whole files in tests/checkpoints
@pytest.mark.skipif(sys.platform != "linux", reason="torch can't be forked everywhere")
def test_killed_twice(tmp_path, monkeypatch, capsys):
    """tools/kill_runs.py with processes that start at once."""
    monkeypatch.syspath_prepend(str(TOOLS))
    import kill_runs

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(kill_runs, "start", Forked)
    monkeypatch.setattr(kill_runs, "run", lambda command: Forked(command).wait() and pytest.fail(" ".join(command)))
    monkeypatch.setattr(kill_runs, "STARTUP_SHARE", 0.0)
    code = kill_runs.main(["--folder", str(tmp_path), "--kills", "2", "--epochs", "5"])
    said = capsys.readouterr().out
    assert code == 0, said
    assert "2 kills: " in said
    assert "none lost, none doubled" in said


@unix
@pytest.mark.slow
def test_killed_twenty_times(tmp_path):
    """The command itself; its output is in docs/restart.md."""
    command = [sys.executable, str(TOOLS / "kill_runs.py"), "--folder", str(tmp_path), "--kills", "20", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 kills: " in done.stdout


def test_the_comparison_finds_what_differs(compose, monkeypatch):
    """The tool would say so: of two runs with different seeds, and of one whose rows are doubled or lost."""
    monkeypatch.syspath_prepend(str(TOOLS))
    import kill_runs

    one, same, other = (
        train(compose(f"seed={seed}", output=name)).folder for name, seed in (("one", 0), ("same", 0), ("other", 1))
    )
    assert kill_runs.differences(one, same) == []
    text = " ".join(kill_runs.differences(one, other))
    for part in ("state_dict of last", "optimizer_states of last", "state_dict of best", "model.safetensors", "rows"):
        assert part in text
    rows = same / "metrics.jsonl"
    lines = rows.read_text().splitlines(keepends=True)
    rows.write_text("".join([*lines, lines[-1]]))
    assert kill_runs.differences(one, same) == ["rows of metrics doubled"]
    rows.write_text("".join(lines[:-1]))
    assert "1 rows of metrics lost" in kill_runs.differences(one, same)[0]


def test_first_signal_only_asks():
    persistence = Persistence(RunFolder(Path("nowhere")))
    persistence.ask_to_stop(signal.SIGTERM)
    assert persistence.interrupted
    assert persistence.signal == signal.SIGTERM
