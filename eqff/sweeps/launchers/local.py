"""Jobs as processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from eqff.locking import try_lock
from eqff.sweeps.launchers.jobs import Ending, Job

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


class LocalLauncher:
    """Starts processes that share the machine's cores, and its GPUs one by one.

    Each holds a lock for as long as it lives, so that a command that is given again while processes of an earlier one
    still run (it was killed, they were not) waits for them instead of starting them twice.

    Args:
        folder: For logs and locks.
        workers: How many at a time.
    """

    waits = 0.2
    leaves = False

    def __init__(self, folder: Path, workers: int = 1):
        self.folder = folder
        self.slots = workers
        self._gpus = visible_gpus() if workers > 1 else []
        self._free = list(range(workers))

    def start(self, job: Job) -> LocalHandle | ForeignHandle:
        """See `Launcher`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log, lock = self.folder / f"{job.name}.log", try_lock(self.folder / f"{job.name}.lock")
        if lock is None:
            return ForeignHandle(self.folder / f"{job.name}.lock", log)
        slot = self._free.pop(0) if self._free else 0
        try:
            with log.open("ab") as output:
                process = subprocess.Popen(
                    job.command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **self._share(slot), **job.environment},
                    start_new_session=True,  # Ctrl-C reaches this command alone, which passes it on
                    pass_fds=(lock,),
                )
        finally:
            os.close(lock)
        return LocalHandle(process, log, lambda: self._free.append(slot))

    def _share(self, slot: int) -> dict[str, str]:
        """Cores are shared out unless the user has said how many threads; a GPU is one process's at a time."""
        share = max(1, len(os.sched_getaffinity(0)) // self.slots)
        # MKL obeys its own variable first: set to another number than the user's, it has threads that wait for cores
        threads = os.environ.get("OMP_NUM_THREADS", str(share))
        shared = {name: threads for name in _THREADS if name not in os.environ}
        if self._gpus:
            shared["CUDA_VISIBLE_DEVICES"] = self._gpus[slot % len(self._gpus)]
        return shared


class LocalHandle:
    """A process of this command.

    Args:
        process: The process.
        log: Its output.
        free: Called when it has ended.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: Path, free: Callable[[], None]):
        self.process, self.log = process, log
        self._free = free
        self._ending: Ending | None = None

    def ending(self) -> Ending | None:
        """See `Handle`."""
        if self._ending is None and self.process.poll() is not None:
            self._free()
            self._ending = Ending(self.process.returncode, self.log)
        return self._ending

    def stop(self) -> None:
        """See `Handle`: a training takes the second signal as the wish not to wait for the end of a step."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)


class ForeignHandle:
    """A process that an earlier command has started and that still runs.

    Args:
        lock: The file that it holds.
        log: Its output.
    """

    def __init__(self, lock: Path, log: Path):
        self.lock, self.log = lock, log

    def ending(self) -> Ending | None:
        """See `Handle`."""
        found = try_lock(self.lock)
        if found is None:
            return None
        os.close(found)
        return Ending(None, self.log, "a process of an earlier command, has ended")

    def stop(self) -> None:
        """It is not this command's to stop."""


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA numbers them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]
