"""Builds of a cache that are killed, or meet another one, and what they need of memory."""

import logging
import multiprocessing
import os
import signal
import time

import psutil
import pytest
import torch
from frames_on_file import methanes, waters, write_extxyz

from eqff.data import cache, reading
from eqff.data.cache import cached_set
from eqff.data.module import AtomicDataModule
from eqff.data.reading import Reading, read_set

if "fork" not in multiprocessing.get_all_start_methods():
    pytest.skip("needs fork", allow_module_level=True)
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def path(tmp_path):
    return write_extxyz(tmp_path / "train.extxyz", [*waters(20), *methanes(20)])


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr("eqff.data.cache.build.PIECE", 4)


def slow(monkeypatch, seconds):
    """Every structure takes so long to check."""
    check = reading.check_frame

    def slowly(*arguments):
        time.sleep(seconds)
        return check(*arguments)

    monkeypatch.setattr(reading, "check_frame", slowly)


def stuck(monkeypatch, after):
    """So many structures are checked by each process, the next one's check never ends."""
    check, checked = reading.check_frame, []

    def checking(*arguments):
        checked.append(arguments)
        if len(checked) > after:
            time.sleep(3600)
        return check(*arguments)

    monkeypatch.setattr(reading, "check_frame", checking)


def wait_until(condition, seconds=300.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "took too long"
        time.sleep(0.02)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_build_leaves_nothing_that_is_used(path, tmp_path, processes, small_parts, monkeypatch, caplog):
    kept = tmp_path / "cache"
    with monkeypatch.context() as patched:
        stuck(patched, after=6)  # one part of 4 and a half
        builder = FORK.Process(target=cached_set, args=(path, Reading(), kept, processes))
        builder.start()
        wait_until(lambda: list(kept.glob("*.building-*/part-[1-9]/*.npy")))
        workers = psutil.Process(builder.pid).children(recursive=True)
        assert len(workers) == (processes if processes > 1 else 0)
        os.kill(builder.pid, signal.SIGKILL)
        builder.join()
    left = list(kept.glob("*.building-*"))
    assert len(left) == 1 and all(".building-" in found.name for found in kept.iterdir() if found.is_dir())
    wait_until(lambda: not any(worker.is_running() and worker.status() != "zombie" for worker in workers))
    with caplog.at_level(logging.WARNING):
        frames = cached_set(path, Reading(), kept, processes).frames
    assert "did not finish" in caplog.text and not list(kept.glob("*.building-*"))
    expected = read_set(path).frames
    assert len(frames) == len(expected) == 40
    assert all(torch.equal(one.forces, other.forces) for one, other in zip(frames, expected, strict=True))


def test_a_killed_build_of_lists_leaves_the_structures(path, tmp_path, small_parts, monkeypatch):
    kept = tmp_path / "cache"
    frames = cached_set(path, Reading(), kept, 1).frames

    def never_ends(columns, cutoff):
        time.sleep(3600)

    with monkeypatch.context() as patched:
        patched.setattr("eqff.data.cache.build.make_lists", never_ends)
        builder = FORK.Process(target=frames.add_neighbours, args=({"local": 3.0},))
        builder.start()
        wait_until(lambda: list(kept.glob("*neighbours*building-*/part-0")))
        os.kill(builder.pid, signal.SIGKILL)
        builder.join()
    frames = cached_set(path, Reading(), kept, 1).frames
    frames.add_neighbours({"local": 3.0})
    assert frames.batch([0, 1]).edge_index.shape[1] > 0


def build_and_tell(path, kept, done):
    frames = cached_set(path, Reading(), kept, 1).frames
    frames.add_neighbours({"local": 3.0})
    done.put((os.getpid(), len(frames), int(frames.sizes("edges").sum())))


def test_builds_that_meet_build_once(path, tmp_path, small_parts, monkeypatch):
    kept, done, builds = tmp_path / "cache", FORK.Queue(), FORK.Queue()
    slow(monkeypatch, 0.01)
    for name in ("build_structures", "build_lists"):
        build = getattr(cache, name)

        def counted(*arguments, name=name, build=build, **settings):
            builds.put(name)
            return build(*arguments, **settings)

        monkeypatch.setattr(cache, name, counted)
    processes = [FORK.Process(target=build_and_tell, args=(path, kept, done)) for _ in range(3)]
    for process in processes:
        process.start()
    found = [done.get(timeout=1200) for _ in processes]
    for process in processes:
        process.join()
    assert len({answer[1:] for answer in found}) == 1 and found[0][1] == 40
    assert sorted(builds.get(timeout=60) for _ in range(2)) == ["build_lists", "build_structures"] and builds.empty()


def test_a_lock_that_a_dead_process_left_is_no_obstacle(path, tmp_path):
    kept = tmp_path / "cache"
    cached_set(path, Reading(), kept, 1)
    (lock,) = kept.glob("*.lock")
    (folder,) = (found for found in kept.iterdir() if found.is_dir())
    for file in folder.iterdir():
        file.unlink()
    lock.write_text("999999")
    assert len(cached_set(path, Reading(), kept, 1).frames) == 40


def own_memory():
    """Bytes of this process alone; pages of mapped files are the system's, which takes them when it must."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))


def largest_memory(path, kept, used):
    """What reading, statistics and an epoch need at most, above what the process had before."""
    torch.set_num_threads(1)
    before = own_memory()
    module = AtomicDataModule(path, split={"val": 0.1}, batch_size=50, cache=kept and str(kept), cache_workers=1)
    module.read()
    module.build_neighbours({"local": 4.0})
    peak = own_memory()
    for number, _ in enumerate(module.train_dataloader()):
        peak = max(peak, own_memory()) if number % 10 == 0 else peak
    used.put(peak - before)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is taken from /proc")
def test_memory_hardly_grows_with_the_set(tmp_path):
    """Four times the structures: a few bytes more for each, where without a cache each needs kilobytes."""
    path = write_extxyz(tmp_path / "train.extxyz", [*waters(250), *methanes(250)])
    used = FORK.Queue()

    def needed(repeats, kept):
        process = FORK.Process(target=largest_memory, args=([path] * repeats, kept, used))
        process.start()
        process.join()
        return used.get(timeout=60)

    few, many = needed(10, tmp_path / "few"), needed(40, tmp_path / "many")
    assert many - few < 15_000 * 400, (few, many)
    assert needed(40, None) > 20_000 * 2000
