"""Commands that the loop runs as processes of their own: here, or wherever a prefix such as ``srun`` puts them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from eqff.errors import EqffError, TrainingError
from eqff.ranges import Count

_POLL = 0.2  # s
_SHOWN = 12  # lines of a log that a message repeats


@dataclass(frozen=True)
class Launch:
    """How commands are run.

    Attributes:
        prefix: Words before every command, which must wait until it is done: ``[srun, -n1]``, ``[ssh, host]``...; none
            to run on this machine.
        workers: Commands at a time.
    """

    prefix: Sequence[str] = ()
    workers: Count = 1


@dataclass(frozen=True)
class Job:
    """A command.

    Attributes:
        name: For messages.
        command: Its words.
        log: Where its output goes, behind what is there.
    """

    name: str
    command: Sequence[str]
    log: Path


def run_jobs(jobs: Sequence[Job], launch: Launch, error: type[EqffError] = TrainingError, inherited: int = -1) -> None:
    """Runs commands until all are done or one fails; then those that still run are asked to stop and save.

    Args:
        jobs: In their order.
        launch: How.
        error: Kind of what is raised.
        inherited: File descriptor that every process keeps open, as that of a lock; -1 for none.

    Raises:
        EqffError: One ended with another exit code than 0, or could not be started; the message has its last lines.
    """
    waiting, running = list(jobs), []
    try:
        while waiting or running:
            while waiting and len(running) < launch.workers:
                running.append(_start(waiting.pop(0), launch, error, inherited))
            for job, process, log in list(running):
                if process.poll() is None:
                    continue
                log.close()
                running.remove((job, process, log))
                if process.returncode != 0:
                    raise error(_died(job, process.returncode))
            time.sleep(_POLL if running else 0.0)
    finally:
        for _, process, log in running:
            with _ended(process):
                process.terminate()
            log.close()


def _start(
    job: Job, launch: Launch, error: type[EqffError], inherited: int
) -> tuple[Job, subprocess.Popen[bytes], IO[bytes]]:
    command = [*launch.prefix, *job.command]
    job.log.parent.mkdir(parents=True, exist_ok=True)
    log = job.log.open("ab")
    try:
        kept = (inherited,) if inherited >= 0 else ()
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, pass_fds=kept
        )
    except OSError as problem:
        log.close()
        raise error(f"{job.name}: '{command[0]}' can't be run ({problem.strerror}). Check the command.") from problem
    return job, process, log


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Waits for a process that was asked to stop; one that does not is killed."""
    yield
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _died(job: Job, code: int) -> str:
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    lines = [line for line in job.log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    last = "\n".join(f"  {line}" for line in lines[-_SHOWN:]) or "  (it said nothing)"
    return f"{job.name} {how}. Its last lines ({job.log}):\n{last}"
