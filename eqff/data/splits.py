"""Which frames train, validate and test: seeded, by group, or as published."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np

from eqff.data.paths import PathLike
from eqff.errors import ConfigError, DataError, did_you_mean
from eqff.ranges import NonNegative, Seed
from eqff.validation import check_arguments

Split = dict[str, list[int]]
NAMES = ("train", "val", "test")
_SPELLINGS = {"train": {"train", "training"}, "val": {"val", "valid", "validation"}, "test": {"test"}}


def split_indices(
    number: int,
    *,
    train: float | None = None,
    val: float = 0.1,
    test: float = 0.0,
    seed: int = 0,
    groups: Sequence[str] | None = None,
) -> Split:
    """Splits ``number`` frames at random, the same way for the same seed.

    Args:
        number: Of frames.
        train: How many, or which share if below 1; None for all that remain.
        val: The same.
        test: The same.
        seed: Of the permutation.
        groups: Group of each frame; a group is never torn apart, so sizes are met as nearly as whole groups allow.

    Returns:
        Ascending indices by "train", "val", "test".

    Raises:
        DataError: More is asked for than there is, or nothing remains to train on.
    """
    sizes = {"val": _count("val", val, number), "test": _count("test", test, number)}
    sizes["train"] = number - sum(sizes.values()) if train is None else _count("train", train, number)
    if sizes["train"] < 1 or sum(sizes.values()) > number:
        raise DataError(f"Can't split {number} frames into {sizes}: nothing would be left, or too much is asked for.")
    generator = np.random.default_rng(seed)
    if groups is None:
        order = generator.permutation(number).tolist()
        first, second = sizes["val"], sizes["val"] + sizes["test"]
        parts = {"val": order[:first], "test": order[first:second], "train": order[second : second + sizes["train"]]}
    else:
        parts = _by_group(groups, sizes, train is None, generator)
    return {name: sorted(parts[name]) for name in NAMES}


def _count(name: str, size: float, number: int) -> int:
    if size < 0 or (size >= 1 and size != int(size)) or (size == 1 and isinstance(size, float)):
        raise ConfigError(
            f"data.split.{name} is {size}: give a share below 1 or a whole number of frames (1 for one, null for all "
            "that remain to train on)."
        )
    return int(size) if size >= 1 else round(size * number)


def _by_group(
    groups: Sequence[str], sizes: Mapping[str, int], all_to_train: bool, generator: np.random.Generator
) -> dict[str, list[int]]:
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    wanted = [name for name in ("val", "test", "train") if sizes[name]]
    if len(members) < len(wanted):
        raise DataError(
            f"Can't split {len(members)} group(s) into {len(wanted)} parts without tearing one apart. Split otherwise "
            "(data.split.by=null), or name the key that tells groups apart ('data.keys={KEY: group}')."
        )
    left = [members[name] for name in generator.permutation(sorted(members))]
    parts: dict[str, list[int]] = {name: [] for name in NAMES}
    for place, name in enumerate(wanted):
        if name == "train" and all_to_train:
            chosen = left
        else:
            chosen = _nearest(left, sizes[name], most=len(left) - (len(wanted) - place - 1))
        parts[name] = [index for group in chosen for index in group]
        taken = {group[0] for group in chosen}
        left = [group for group in left if group[0] not in taken]
    return parts


def _nearest(groups: Sequence[list[int]], goal: int, most: int) -> list[list[int]]:
    """The first groups that each bring the sum of sizes nearer to the goal; at least the smallest, at most ``most``."""
    chosen: list[list[int]] = []
    count = 0
    for group in groups:
        if len(chosen) < most and abs(count + len(group) - goal) < abs(count - goal):
            chosen.append(group)
            count += len(group)
    return chosen or [min(groups, key=len)]


def read_split(path: PathLike | Mapping[str, PathLike], number: int) -> Split:
    """A published split.

    Args:
        path: A JSON or npz file with index lists "train", "val", "test" (``train_idx``, ``idx_train``, ``valid`` and
            the like are understood), or one text file of indices, one in a line, for each of them.
        number: Of frames; indices count from 0 over all files of ``data.path`` in order.

    Raises:
        DataError: An index is out of range, twice there, in two parts or no whole number; two lists for one part.
    """
    raw: Mapping[str, Any]
    if isinstance(path, Mapping):
        raw = {name: _indices(Path(file)) for name, file in path.items()}
    else:
        raw = _load(Path(path))
    found: dict[str, str] = {}
    parts: Split = {name: [] for name in NAMES}
    for key, indices in raw.items():
        name = _part_name(key)
        if name is None:
            continue
        if name in found:
            raise DataError(f"{path}: both '{found[name]}' and '{key}' may be the {name} set. Leave one of them out.")
        found[name], parts[name] = key, _whole(indices, f"{path}: '{key}'")
    if not parts["train"]:
        raise DataError(f"{path}: no training indices in it.{did_you_mean('train', raw)}")
    check_split(parts, number, str(path))
    return parts


def _whole(indices: Any, what: str) -> list[int]:
    """Indices of any shape as a list."""
    array = np.asarray(indices).ravel()
    if array.size and (array.dtype.kind not in "iuf" or not np.array_equal(array, np.rint(array))):
        raise DataError(f"{what} should hold whole numbers, which count frames from 0, but begins with {array[0]!r}.")
    return array.astype(np.int64).tolist()


def _indices(path: Path) -> np.ndarray:
    try:
        return np.loadtxt(path, dtype=np.int64, ndmin=1)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: needed is a text file with one index in a line ({error}).") from error


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path}: there is no such split file.")
    try:
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                return {key: arrays[key] for key in arrays.files}
        if path.suffix == ".json":
            content = json.loads(path.read_text(encoding="utf-8"))
            return {key: value for key, value in content.items() if isinstance(value, list)}
    except (ValueError, AttributeError, BadZipFile) as error:
        raise DataError(f"{path}: this split file can't be read ({error}). Write it again.") from error
    raise DataError(f"{path}: a split is a .json or .npz file, or {{train: FILE, val: FILE, test: FILE}} of text.")


def _part_name(key: str) -> str | None:
    words = key.lower().replace("-", "_").split("_")
    return next((name for name, spellings in _SPELLINGS.items() if spellings & set(words)), None)


@dataclass(frozen=True)
class SplitSettings:
    """The section ``data.split``.

    Attributes:
        train: Share below 1, or number of frames; None for all that remain.
        val: The same; None for none.
        test: The same as ``val``.
        seed: Of the permutation.
        by: What is never torn apart; None for single frames.
        file: A published split instead, see `read_split`.
    """

    train: NonNegative | None = None
    val: NonNegative | None = 0.1
    test: NonNegative | None = 0.0
    seed: Seed = 0
    by: Literal["group", "config_type", "formula"] | None = None
    file: str | Path | Mapping[str, str | Path] | None = None


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raises ConfigError if ``split`` has a setting that does not exist, or a value of a wrong type."""
    check_arguments(SplitSettings, settings, "data.split")


def check_split(parts: Split, number: int, where: str) -> None:
    """Raises DataError if indices are out of range of ``number`` frames or occur twice."""
    every = [index for name in NAMES for index in parts[name]]
    outside = [index for index in every if not 0 <= index < number]
    if outside:
        raise DataError(f"{where}: index {outside[0]} is outside of the {number} frames (they count from 0).")
    seen: dict[int, str] = {}
    for name in NAMES:
        for index in parts[name]:
            if index in seen:
                raise DataError(f"{where}: frame {index} is in '{seen[index]}' and again in '{name}'.")
            seen[index] = name


def write_split(path: PathLike, parts: Split, **about: object) -> None:
    """Writes a split as JSON, which `read_split` reads; ``about`` (seed, hash of the data) goes with it."""
    Path(path).write_text(json.dumps({**about, **parts}) + "\n")
