"""Trajectory files that grow frame by frame, and can be cut back to the frames of a saved state."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ase import Atoms
from ase.io import iread, write
from ase.io.formats import UnknownFileTypeError, filetype, ioformats
from ase.io.trajectory import Trajectory

from eqff.checkpoints.atomic import replacing
from eqff.errors import ConfigError, ModelError

GROWING = (".extxyz", ".xyz", ".traj")
"""Suffixes of formats that are written as the run goes."""


class TrajectoryFile(Protocol):
    """A file that frames are appended to.

    Attributes:
        path: Of the file.
    """

    path: Path

    def append(self, atoms: Atoms) -> None:
        """One more frame, with what the calculator has."""

    def mark(self) -> int:
        """Where the file ends now."""

    def cut(self, mark: int) -> None:
        """Takes away what was appended after a mark.

        Raises:
            ModelError: The file holds less than it did then.
        """


class ExtendedXYZ:
    """Extended XYZ; a mark is a number of bytes."""

    def __init__(self, path: Path):
        self.path = path

    def append(self, atoms: Atoms) -> None:
        """See `TrajectoryFile`."""
        write(self.path, atoms, format="extxyz", append=True)

    def mark(self) -> int:
        """See `TrajectoryFile`."""
        return self.path.stat().st_size if self.path.exists() else 0

    def cut(self, mark: int) -> None:
        """See `TrajectoryFile`."""
        cut_file(self.path, mark)


class ASETrajectory:
    """ASE's binary format, every digit kept; a mark is a number of frames."""

    def __init__(self, path: Path):
        self.path = path

    def append(self, atoms: Atoms) -> None:
        """See `TrajectoryFile`."""
        with Trajectory(self.path, "a", atoms) as file:
            file.write()

    def mark(self) -> int:
        """See `TrajectoryFile`."""
        if not self.path.exists():
            return 0
        with Trajectory(self.path) as file:
            return len(file)

    def cut(self, mark: int) -> None:
        """See `TrajectoryFile`."""
        frames = self.mark()
        if frames < mark:
            raise _lost(self.path, f"{frames} frames", f"{mark}")
        if frames == mark:
            return
        with replacing(self.path) as temporary, Trajectory(self.path) as old, Trajectory(temporary, "w") as new:
            for index in range(mark):
                new.write(old[index])


def open_trajectory(path: Path) -> TrajectoryFile:
    """The file that grows for a path: itself, or for formats that can't, a ``.traj`` beside it.

    Raises:
        ConfigError: ASE can't write several frames in the format.
    """
    check_format(path.name)
    if path.suffix in (".extxyz", ".xyz"):
        return ExtendedXYZ(path)
    return ASETrajectory(path.with_suffix(".traj"))


def check_format(name: str) -> None:
    """Checks that frames can be written to a file of this name.

    Raises:
        ConfigError: They can't; the message says which suffixes do.
    """
    if Path(name).name != name:
        raise ConfigError(f"trajectory: '{name}' should be a file name; the folder is `output`.")
    if Path(name).suffix in GROWING:
        return
    try:
        found = ioformats[filetype(name, read=False)]
    except (UnknownFileTypeError, KeyError):
        found = None
    if found is None or found.single or not found.can_write:
        raise ConfigError(
            f"trajectory: '{name}' should end in {', '.join(GROWING)}, or in the suffix of another format in which ASE "
            "writes several frames, such as .pdb or .xsf."
        )


def convert(grown: Path, wanted: Path) -> None:
    """Writes the frames of a trajectory in the format that another name asks for."""
    if wanted != grown and grown.exists():
        write(wanted, list(frames_of(grown)))


def frames_of(path: Path) -> Iterator[Atoms]:
    """The frames of a trajectory that this module has written, one after the other."""
    return iread(path, index=":", format="traj" if path.suffix == ".traj" else "extxyz")


def cut_file(path: Path, size: int) -> None:
    """Cuts a file to a number of bytes.

    Raises:
        ModelError: It is shorter already.
    """
    actual = path.stat().st_size if path.exists() else 0
    if actual < size:
        raise _lost(path, f"{actual} bytes", f"{size}")
    if path.exists():
        os.truncate(path, size)


def _lost(path: Path, has: str, had: str) -> ModelError:
    return ModelError(f"{path} holds {has}, but held {had} when the state was saved: it was changed. Start a new run.")
