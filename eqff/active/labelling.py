"""Labels for chosen structures: from a command of the user's, or looked up where the pool has them already."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ase.io import write

from eqff.active.candidates import identity
from eqff.active.jobs import Launch, run_jobs
from eqff.checkpoints.atomic import replacing
from eqff.data.atomic_data import AtomicData
from eqff.data.atoms import to_atoms
from eqff.data.reading import read_frames
from eqff.errors import DataError
from eqff.sweeps.launchers import Job

LABELLER = "labeller"
"""Name of the job, and of its log."""

_TRIES = 3  # one waits for what a killed loop had started, the others do or find done what it left

Labeller = Callable[[Path, Path], None]
"""Labels the structures of the first file into the second, which is whole or not there."""


def by_command(template: str, launch: Launch) -> Labeller:
    """Labels by a command with ``{input}`` and ``{output}``; what it left of an earlier try is kept for it.

    Args:
        template: For example ``python tools/make_labels.py {input} {output} --method gfn2``.
        launch: Where it is run.
    """

    def label(source: Path, target: Path) -> None:
        partial = target.with_name(f"new_{target.name}")
        places = {"{input}": str(source), "{output}": str(partial)}
        words = [_filled(word, places) for word in shlex.split(template)]
        for _ in range(_TRIES):
            unknown = run_jobs([Job(LABELLER, tuple(words))], launch, target.parent, DataError)
            if not unknown:
                break
        else:
            raise DataError(f"It is not known whether the labeller has done its work: {unknown[LABELLER]}.")
        if not partial.is_file():
            log = target.with_name(f"{LABELLER}.log")
            raise DataError(f"The labeller said that all went well, but {partial} is not there. Look at {log}.")
        partial.replace(target)

    return label


def _filled(word: str, places: Mapping[str, str]) -> str:
    """A word of the command with places filled in; other braces, as of JSON, stay."""
    return re.sub("|".join(map(re.escape, places)), lambda found: places[found[0]], word)


def looked_up(pool: Sequence[AtomicData], reading: dict) -> Labeller:
    """Takes labels from structures that have them.

    Args:
        pool: With labels.
        reading: How files are read.
    """
    known = {identity(frame): frame for frame in pool}

    def label(source: Path, target: Path) -> None:
        found = [known.get(identity(frame)) for frame in read_frames(source, **reading, labels=())]
        labelled = [frame for frame in found if frame is not None and frame.has("energy")]
        if not labelled:
            raise DataError(
                f"The pool has labels for none of the {len(found)} structures chosen. Give the command that labels, "
                'label="python tools/make_labels.py {input} {output} --method gfn2".'
            )
        write_frames(target, labelled)

    return label


def checked_labels(source: Path, target: Path, reading: dict) -> tuple[list[AtomicData], int]:
    """The labelled structures, and how many of those sent are missing.

    Raises:
        DataError: There are none, one has no energy or is there twice, or they are not those that were sent.
    """
    sent = {identity(frame) for frame in read_frames(source, **reading, labels=())}
    frames = read_frames(target, **reading)
    found = [identity(frame) for frame in frames]
    without_energy = sum(not frame.has("energy") for frame in frames)
    strangers, copies = sum(key not in sent for key in found), len(found) - len(set(found))
    if not frames or without_energy or strangers or copies:
        target.rename(target.with_name(f"bad_{target.name}"))
        raise DataError(
            f"The labels in bad_{target.name} ({target.parent}) can't be used: {len(frames)} structures, of which "
            f"{without_energy} have no energy, {copies} are copies of others and {strangers} are none of the "
            f"{len(sent)} sent (positions to 1e-4 Å, charge, multiplicity, surroundings, fragments). Correct the "
            "labeller and run the same command again."
        )
    return frames, len(sent) - len(frames)


def write_frames(path: Path, frames: Sequence[AtomicData]) -> Path:
    """Structures with their labels as extxyz, whole or not at all."""
    with replacing(path) as temporary:
        write(temporary, [to_atoms(frame) for frame in frames], format="extxyz")
    return path
