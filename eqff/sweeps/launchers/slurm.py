"""Jobs of a queue, through submitit."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eqff.errors import ConfigError, did_you_mean
from eqff.sweeps.launchers.jobs import Ending, Job

_GENERIC = ("timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node", "stderr_to_stdout")
_CLUSTERS = ("slurm", "local")
_SAVING = 60.0  # s that a training has to end its step and write its state; sbatch warns 90 s before it kills


class SlurmLauncher:
    """Submits jobs, and finds those again that an earlier command has submitted.

    Args:
        folder: For logs, on a file system that all machines see.
        workers: How many in the queue at a time; None for all.
        parameters: ``timeout_min``, ``gpus_per_node``, ... and what sbatch knows besides (``partition``, ``account``,
            ``qos``, ``additional_parameters``...), and ``cluster``.

    Raises:
        ConfigError: submitit is not installed, or doesn't know a parameter; or there is no queue here.
    """

    leaves = True

    def __init__(self, folder: Path, workers: int | None = None, parameters: Mapping[str, Any] | None = None):
        submitit = _submitit()
        parameters = dict(parameters or {})
        self.cluster = parameters.pop("cluster", "slurm")
        if self.cluster not in _CLUSTERS:
            raise ConfigError(f"sweep.slurm.cluster: no '{self.cluster}'.{did_you_mean(self.cluster, _CLUSTERS)}")
        self.folder, self.slots = folder.resolve(), workers
        self.waits = 10.0 if self.cluster == "slurm" else 0.2
        self._job_class = {"slurm": submitit.SlurmJob, "local": submitit.LocalJob}[self.cluster]
        try:
            self.executor = submitit.AutoExecutor(folder=self.folder / "jobs", cluster=self.cluster)
            named = {name if name in _GENERIC else f"slurm_{name}": value for name, value in parameters.items()}
            self.executor.update_parameters(**named)
        except RuntimeError as error:
            raise ConfigError(f"sweep.launcher=slurm: {error} Start it where sbatch can be called.") from error
        except (NameError, AssertionError, TypeError) as error:
            known = (*_GENERIC, *submitit.SlurmExecutor._valid_parameters())
            wrong = next((name for name in parameters if name not in known), next(iter(parameters), ""))
            raise ConfigError(
                f"sweep.slurm.{wrong}: {str(error).splitlines()[0]}{did_you_mean(wrong, known)}"
            ) from error

    def start(self, job: Job) -> QueuedHandle:
        """See `Launcher`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        note = self.folder / f"{job.name}.job"
        earlier = self._submitted(note)
        if earlier is not None:
            return QueuedHandle(earlier, earlier=True)
        self.executor.update_parameters(name=job.name[:64])
        submitted = self.executor.submit(CommandOfJob(job.command, dict(job.environment)))
        note.write_text(f"{submitted.job_id}\n", encoding="utf-8")
        return QueuedHandle(submitted)

    def _submitted(self, note: Path) -> Any:
        """The job that an earlier command has submitted, if it is in the queue or runs."""
        if not note.is_file():
            return None
        job = self._job_class(folder=self.executor.folder, job_id=note.read_text(encoding="utf-8").strip())
        return None if job.done() else job


class CommandOfJob:
    """A command in a job of a queue; where the queue preempts the job or its time ends, it is queued again.

    Args:
        command: Program and arguments.
        environment: Variables besides those that are there.
    """

    def __init__(self, command: tuple[str, ...], environment: dict[str, str]):
        self.command, self.environment = command, environment
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        """Runs it; its exit code."""
        environment = {**os.environ, **self.environment}
        self._process = subprocess.Popen(self.command, env=environment, preexec_fn=_ignore_warnings)
        return self._process.wait()

    def checkpoint(self) -> Any:
        """What submitit calls then: the state is saved before the job ends."""
        from submitit.helpers import DelayedSubmission

        if self._process is not None and self._process.returncode is None:
            _end(self._process.pid)
        return DelayedSubmission(CommandOfJob(self.command, self.environment))

    __submitit_checkpoint__ = checkpoint  # its name in submitit after 1.5

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_process": None}


def _ignore_warnings() -> None:
    """Of a queue, which go to all processes of a job and end those that don't know them."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def _end(pid: int) -> None:
    """Asks a child to save and end, and waits for that.

    Called by a signal's handler while ``Popen.wait`` waits for the same child and holds its lock, so that no method of
    ``Popen`` would see the end. The child is left for that wait to collect.
    """
    deadline = time.monotonic() + _SAVING
    try:
        os.kill(pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return
            time.sleep(0.05)
    except (ProcessLookupError, ChildProcessError):  # has ended and was collected
        return


class QueuedHandle:
    """A job of the queue.

    Args:
        job: submitit's.
        earlier: Whether an earlier command has submitted it.
    """

    def __init__(self, job: Any, earlier: bool = False):
        self.job, self.earlier = job, earlier

    def ending(self) -> Ending | None:
        """See `Handle`."""
        if not self.job.done():
            return None
        error = self.job.exception()
        if error is None:
            codes = [int(code) for code in self.job.results()]  # of each task
            return Ending(next((code for code in codes if code), 0), self.job.paths.stdout)
        return Ending(None, self.job.paths.stderr, f"job {self.job.job_id} {self.job.state}: {_last_line(error)}")

    def stop(self) -> None:
        """See `Handle`."""
        self.job.cancel()


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise ConfigError(
            "sweep.launcher=slurm needs submitit, which is not installed: pip install 'eqff[sweep]'. On this machine "
            "alone, sweep.launcher=local needs nothing."
        ) from error
    return submitit
