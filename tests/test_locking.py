"""Locks on files: one holder at a time, gone with it, and not passed on by accident."""

import errno
import os
import sys

import pytest

from eqff.errors import ConfigError
from eqff.locking import locked, try_lock

fcntl = pytest.importorskip("fcntl")


def test_one_at_a_time(tmp_path):
    path = tmp_path / "new" / "lock"
    with locked(path, "sweep"):
        with pytest.raises(ConfigError, match=rf"another sweep \(process {os.getpid()}\)"), locked(path, "sweep"):
            pass
        assert try_lock(path) is None
    descriptor = try_lock(path)
    assert descriptor is not None
    with pytest.raises(ConfigError, match="still at work there"), locked(path, "sweep"):
        pass
    os.close(descriptor)
    with locked(path, "sweep"):
        pass


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="asks Linux which files are open")
def test_processes_that_are_started_do_not_hold_it(tmp_path):
    with locked(tmp_path / "own.lock", "sweep"):
        own = [int(fd) for fd in os.listdir("/proc/self/fd") if _is(fd, "own.lock")]
        assert own and not any(os.get_inheritable(fd) for fd in own)


def _is(descriptor, name):
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}").endswith(name)
    except OSError:
        return False


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(ConfigError, match="file system has no locks"), locked(tmp_path / "lock", "sweep"):
        pass


def test_a_system_without_locks(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.delattr(os, "pwrite", raising=False)  # as on Windows
    with locked(tmp_path / "lock", "sweep"):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
