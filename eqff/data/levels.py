"""Levels of theory: which frames declare one, sets that mix several, and energies shifted from one onto another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from copy import copy
from fnmatch import fnmatch
from pathlib import Path

import torch
from ase.data import chemical_symbols

from eqff.data.atomic_data import AtomicData
from eqff.data.columns import Columns
from eqff.data.differences import require_one_base
from eqff.data.energy_rows import level_of_theory
from eqff.data.reference_set import per_number
from eqff.errors import ConfigError, DataError, did_you_mean

Levels = str | Mapping[str, str] | None
"""A level of theory for frames that state none, or file or pattern to level."""

LevelCounts = Counter[tuple[str, str]]
"""(level of theory, file) to number of frames, in their order; the level is empty where none is declared."""

MIXED = ("refuse", "offset")


def stated_level(file: Path, levels: Levels) -> str:
    """The level that the user states for a file, empty if none.

    Raises:
        ConfigError: Patterns with different levels fit.
    """
    if levels is None or isinstance(levels, str):
        return levels or ""
    names = (file.name, "/".join(file.parts[-2:]), str(file))
    found = {level for pattern, level in levels.items() if any(fnmatch(name, pattern) for name in names)}
    if len(found) > 1:
        raise ConfigError(f"data.level_of_theory gives {file} several levels: {', '.join(sorted(found))}. Give it one.")
    return next(iter(found), "")


def with_level(frame: AtomicData, stated: str) -> AtomicData:
    """The frame with the stated level where it declares none itself.

    Raises:
        DataError: It declares another one.
    """
    own = level_of_theory(frame)
    if stated and own and stated != own:
        raise DataError(
            f"{frame.place}: declares the level of theory '{own}', but data.level_of_theory says '{stated}'. Correct "
            "the setting, or leave the key alone that is read as the level: 'data.keys={KEY: null}'."
        )
    frame.level_of_theory = own or stated
    return frame


def count_levels(chunks: Iterable[Columns]) -> LevelCounts:
    """How many frames of each file have which level, over the chunks of a set."""
    counts: LevelCounts = Counter()
    for columns in chunks:
        counts.update(zip(columns.texts["level_of_theory"], columns.texts["source"], strict=True))
    return counts


def require_files(levels: Levels, files: Iterable[Path]) -> None:
    """Raises ConfigError if a pattern of ``levels`` fits none of the files."""
    files = list(files)
    for pattern in levels if isinstance(levels, Mapping) else ():
        if not any(stated_level(file, {pattern: "x"}) for file in files):
            known = [file.name for file in files]
            raise ConfigError(f"data.level_of_theory: no file fits '{pattern}'.{did_you_mean(pattern, known)}")


def choose_level(sets: Mapping[str, LevelCounts], mixed: str, main: str | None) -> str | None:
    """The level that energies of several have to be shifted onto; None if there is nothing to shift.

    Args:
        sets: By name; "train" among them.
        mixed: What to do with a training set that mixes levels: "refuse" or "offset".
        main: The level that the model's energies are to be on; by default that of the first training frame.

    Raises:
        ConfigError: ``mixed`` or ``main`` is none of those there are.
        DataError: Levels are mixed and that is refused; or a set has a level that the training set lacks; or labels of
            some are differences to a base, and those of others are not.
    """
    if mixed not in MIXED:
        raise ConfigError(f"data.mixed_levels can't be '{mixed}'.{did_you_mean(mixed, MIXED)}")
    every = {level for counts in sets.values() for level in levels_of(counts)}
    require_one_base(every, "Training, validation and test sets")
    train = levels_of(sets["train"])
    if main is not None and main not in train:
        raise ConfigError(f"data.main_level: no training frame has the level '{main}'.{did_you_mean(main, train)}")
    declared = [level for level in train if level]
    if len(declared) > 1 and mixed == "refuse":
        raise DataError(_refusal("The training set mixes levels of theory", sets["train"], declared[0]))
    if mixed == "offset" and len(train) > 1 and "" in train:
        raise DataError(
            f"{_listed(sets['train'])}: data.mixed_levels=offset needs the level of every frame. Say which one the "
            "others have: 'data.level_of_theory={FILE: NAME}'."
        )
    for name, counts in sets.items():
        strange = [level for level in levels_of(counts) if level and level not in train]
        if strange and declared:
            raise DataError(
                f"{name} has frames at the level of theory '{strange[0]}', of which the training set has none: "
                f"{_listed(sets['train'])}. Their energies can't be compared with the model's. Leave them out, or "
                "leave the key alone that is read as the level: 'data.keys={KEY: null}'."
            )
    return (main or train[0]) if len(declared) > 1 else None


def levels_of(counts: LevelCounts) -> list[str]:
    """The levels in the order in which they come."""
    return list(dict.fromkeys(level for level, _ in counts))


def level_notes(counts: LevelCounts, level: str | None) -> list[str]:
    """Lines for people on what is shifted, or not declared where other frames declare a level."""
    levels = levels_of(counts)
    if level is not None:
        others = ", ".join(f"'{name}'" for name in levels if name != level)
        return [f"energies of {others} are shifted onto '{level}' by the differences of the elements' energies"]
    if len(levels) > 1 and "" in levels:
        return [f"some frames declare no level of theory, and are taken to be of the same: {_listed(counts)}"]
    return []


def shifted(frame: AtomicData, level: str, offsets: Mapping[str, Mapping[int, float]]) -> AtomicData:
    """The structure with its energy on another level; forces stay, for the shift does not depend on positions.

    Args:
        frame: At ``level`` already, or at one of those in ``offsets``.
        level: The level to shift onto.
        offsets: Other level to Z to eV above ``level``.

    Raises:
        DataError: It holds an element that was not there at its level when the offsets were made.
    """
    own = level_of_theory(frame)
    if own == level or own not in offsets:
        return frame
    numbers = frame.numbers.tolist()
    if not set(numbers) <= set(offsets[own]):
        raise DataError(missing_offset(frame.place, numbers, own, level, offsets[own]))
    moved = copy(frame)
    moved.level_of_theory = level
    if "energy" in frame:
        moved.energy = frame.energy - torch.from_numpy(per_number(offsets[own]))[frame.numbers].sum()
    return moved


def missing_offset(place: str, numbers: Iterable[int], own: str, level: str, known: Iterable[int]) -> str:
    """The message for a structure with these atomic numbers whose energy can't be shifted."""
    missing = ", ".join(chemical_symbols[z] for z in sorted(set(numbers) - set(known)))
    return (
        f"{place}: its energy at the level '{own}' can't be shifted onto '{level}': no training frame at its level has "
        f"{missing}. Leave it out, or train on some."
    )


def _refusal(what: str, counts: LevelCounts, main: str) -> str:
    return (
        f"{what}: {_listed(counts)}. The same structure has total energies eV to keV apart at different levels. "
        "Take the files of one level (data.path), or shift energies onto one, element by element: "
        f"data.mixed_levels=offset 'data.main_level={main}'. If a key is no level of theory: 'data.keys={{KEY: null}}'."
    )


def _listed(counts: LevelCounts) -> str:
    parts = []
    for level in levels_of(counts):
        files = {file: count for (name, file), count in counts.items() if name == level}
        shown = ", ".join(list(files)[:3]) + (", ..." if len(files) > 3 else "")
        parts.append(f"{repr(level) if level else 'no level stated'}: {sum(files.values())} frames of {shown}")
    return "; ".join(parts)
