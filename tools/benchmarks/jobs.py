"""What a benchmark runs: one process for each package, task and mode, which times several workloads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from eqff.errors import ConfigError, did_you_mean

TOOLS = Path(__file__).parents[1]
OWN = "eqff"
TRAINING = ("ethanol32", "aspirin5")
INFERENCE = ("aspirin", "water192", "water648", "water1536", "water5184")
FASTEST = {
    ("eqff", "train"): "compile",
    ("eqff", "infer"): "aot",
    ("nequip", "train"): "compile",
    ("nequip", "infer"): "aot",
}
"""Modes that are the fastest where they work; of any other package and task, eager."""


@dataclass(frozen=True)
class Job:
    """One process.

    Attributes:
        package: "eqff" or a peer.
        task: "train" or "infer".
        workloads: Timed one after the other.
        config: Of the package's script, mostly "matched".
        mode: Of the package's script, e.g. "eager".
        threads: Of torch.
        device: "cpu" or "cuda".
    """

    package: str
    task: str
    workloads: tuple[str, ...]
    config: str = "matched"
    mode: str = "eager"
    threads: int = 1
    device: str = "cpu"

    @property
    def key(self) -> str:
        """Names the job in the file of results, where it is looked for when a benchmark goes on."""
        return "/".join(str(",".join(v) if isinstance(v, tuple) else v) for v in asdict(self).values())

    def __str__(self) -> str:
        where = "" if self.device == "cpu" else f", {self.device}"
        return f"{self.package} {self.task} {','.join(self.workloads)} ({self.mode}, {self.threads} thread(s){where})"


@dataclass(frozen=True)
class Places:
    """Where the packages are.

    Attributes:
        folder: With ``common.py``, ``workload.py`` and a ``bench_NAME.py`` for each peer.
        environments: With a virtual environment ``NAME`` for each peer.
        scratch: For caches of compiled code, of each package its own.
        budget: Seconds of timed calls for each workload.
        seed: Of weights and orders.
    """

    folder: Path
    environments: Path
    scratch: Path
    budget: float = 2.0
    seed: int = 0
    extra: dict[str, str] = field(default_factory=dict)

    def command(self, job: Job) -> list[str]:
        """How a job is started."""
        own = job.package == OWN
        script = [str(TOOLS / "bench_eqff.py")] if own else [str(TOOLS / "bench_peer.py"), job.package]
        settings = {"task": job.task, "workload": ",".join(job.workloads), "config": job.config, "mode": job.mode}
        settings |= {"threads": job.threads, "budget": self.budget, "seed": self.seed}
        flags = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
        return [str(self.python(job.package)), *script, *flags]

    def environment(self, job: Job) -> dict[str, str]:
        """Variables that a job sees."""
        threads = str(job.threads)
        own = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "BENCH_DEVICE": job.device}
        own |= {"PEERS_FOLDER": str(self.folder), "PEERS": str(self.environments)}
        own |= {"TORCHINDUCTOR_CACHE_DIR": str(self.scratch / f"inductor_{job.package}")}
        return {**os.environ, **own, **self.extra}

    def python(self, package: str) -> Path:
        """The interpreter of a package."""
        return Path(sys.executable) if package == OWN else self.environments / package / "bin" / "python"

    def check(self, packages: Sequence[str]) -> None:
        """Raises ConfigError if the harness, a peer's script or its environment is missing."""
        if not (self.folder / "common.py").is_file():
            raise ConfigError(
                f"{self.folder} has no common.py, the harness of the comparison. Name its folder by --peers-folder "
                "or PEERS_FOLDER."
            )
        known = sorted(path.stem.removeprefix("bench_") for path in self.folder.glob("bench_*.py"))
        for name in (name for name in packages if name != OWN):
            if name not in known:
                raise ConfigError(f"--against: no script bench_{name}.py in {self.folder}.{did_you_mean(name, known)}")
            if not self.python(name).is_file():
                raise ConfigError(
                    f"--against {name}: there is no {self.python(name)}. Make its environment "
                    f"(PEERS={self.environments} {self.folder}/setup.sh {name}), or name another folder of "
                    "environments by --peers or PEERS."
                )


def mode_of(package: str, task: str, modes: dict[str, str]) -> str:
    """The mode that the command line asks for, by ``PACKAGE`` or ``PACKAGE.TASK``, else the fastest."""
    fallback = FASTEST.get((package, task), "eager")
    return modes.get(f"{package}.{task}", modes.get(package, fallback))


def comparison(
    packages: Sequence[str],
    training: Sequence[str],
    inference: Sequence[str],
    threads: Sequence[int],
    modes: dict[str, str],
    own_configs: Sequence[str] = (),
    **settings: Any,
) -> Iterator[Job]:
    """Packages in turn for each task and number of threads, so that those of a ratio run next to each other.

    Args:
        packages: Names, with or without "eqff".
        training: Workloads.
        inference: The same.
        threads: Numbers of them.
        modes: See `mode_of`; several separated by commas make several jobs.
        own_configs: Of eqff, each in turn; none: that of all packages.
        settings: Others of `Job`.
    """
    tasks = {"train": tuple(training), "infer": tuple(inference)}
    for (task, workloads), count, package in product(tasks.items(), threads, packages):
        if not workloads:
            continue
        configs = own_configs if package == OWN and own_configs else [settings.get("config", Job.config)]
        for config, mode in product(configs, mode_of(package, task, modes).split(",")):
            yield Job(package, task, workloads, **settings | {"config": config, "mode": mode, "threads": count})
