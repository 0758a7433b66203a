"""The folder of a run: where everything is that it leaves."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from eqff.checkpoints.atomic import remove_leftovers, replacing
from eqff.checkpoints.model_file import MODEL_FILE
from eqff.errors import ConfigError, TrainingError

PACKAGES = ("eqff", "torch", "torch-geometric", "e3nn", "lightning", "hydra-core", "wandb", "ase", "vesin", "numpy")


@dataclass(frozen=True)
class RunFolder:
    """Paths inside of one run's folder.

    Attributes:
        path: The folder.
    """

    path: Path

    @classmethod
    def create(cls, wanted: str | Path) -> RunFolder:
        """A new folder; where the name is taken, the first free one of NAME-2, NAME-3...

        Raises:
            ConfigError: It is the working folder, or one above it.
        """
        wanted = Path(wanted).expanduser()
        if wanted.name in ("", ".."):
            raise ConfigError(f"output: '{wanted}' is there already, and a run has a folder of its own: give its name.")
        path, number = wanted, 1
        while True:
            try:
                path.mkdir(parents=True, exist_ok=False)
                return cls(path)
            except FileExistsError:
                number += 1
                path = wanted.with_name(f"{wanted.name}-{number}")

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """The folder of an earlier run.

        Raises:
            TrainingError: It isn't one, or holds nothing to resume from.
        """
        folder = cls(Path(path).expanduser())
        if not folder.config.is_file():
            raise TrainingError(f"'{path}' can't be resumed: there is no {folder.config}. Give a stopped run's folder.")
        if not any(state.is_file() for state in folder.states):
            raise TrainingError(
                f"'{path}' can't be resumed: there is no {folder.last_checkpoint}. It was stopped before its first "
                "state was written: start it anew."
            )
        return folder

    @property
    def config(self) -> Path:
        """The resolved config."""
        return self.path / "config.yaml"

    @property
    def last_checkpoint(self) -> Path:
        """State to resume from."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def previous_checkpoint(self) -> Path:
        """The state before that, for the case that the last one can't be read."""
        return self.path / "checkpoints" / "previous.ckpt"

    @property
    def states(self) -> tuple[Path, Path]:
        """States to resume from, the newest first."""
        return self.last_checkpoint, self.previous_checkpoint

    @property
    def best_checkpoint(self) -> Path:
        """State at the best validation."""
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def model(self) -> Path:
        """The model file."""
        return self.path / MODEL_FILE

    @property
    def figures(self) -> Path:
        """Folder of figures."""
        return self.path / "figures"

    @property
    def result(self) -> Path:
        """What came out, as JSON."""
        return self.path / "result.json"

    @property
    def report(self) -> Path:
        """The report."""
        return self.path / "report.md"

    def remove_leftovers(self) -> None:
        """Deletes the unfinished files that killed processes have left."""
        names = [path for path in self.path.glob("*") if path.is_file()]
        for path in (*names, *self.states, self.best_checkpoint):
            remove_leftovers(path)

    def write_json(self, name: str, content: Mapping[str, Any]) -> Path:
        """Writes plain values as ``NAME``, whole or not at all."""
        target = self.path / name
        with replacing(target) as temporary:
            temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return target


def provenance() -> dict[str, Any]:
    """What a result depends on besides config and data: command, versions, git commit, machine."""
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "git_commit": git_commit(),
        "platform": platform.platform(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def git_commit() -> str | None:
    """The commit of the checkout that eqff runs from, with "-dirty" where files differ from it; None without one.

    An installed eqff may lie within a repository of somebody else's, whose commit says nothing about it.
    """
    own = _git("ls-files", Path(__file__).name) is not None
    return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*") if own else None


def _git(*arguments: str) -> str | None:
    """What git says in the folder of this file; None where that is nothing."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None
