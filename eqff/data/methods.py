"""The key ``method`` of files whose energies lie apart: together they say that levels of theory are mixed.

Alone, neither does. ``method`` may be how a structure was made, and energies lie apart for other reasons too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from eqff.data.paths import source_name, take
from eqff.data.readers import reader_for
from eqff.data.reading import guarded
from eqff.errors import DataError

KEY = "method"
"""As `tools/make_labels.py` writes the level of theory, and many others do."""


def require_one_method(odd: str, files: Iterable[tuple[Path, str]], keys: Mapping[str, str | None]) -> None:
    """Refuses a training set of files whose energies lie apart and of which `KEY` says different things.

    Args:
        odd: How energies lie apart, for people; see `eqff.data.odd_files`.
        files: Each with its slice of frames, of which the first is asked; see `eqff.data.paths.resolve_paths`.
        keys: What the user says of keys. One who says something of `KEY` has decided.

    Raises:
        DataError: Names the methods, their files and what to do.
    """
    if KEY in keys:
        return
    found: dict[str, list[str]] = {}
    for file, part in files:
        if method := _method(file, part):
            found.setdefault(method, []).append(source_name(file))
    if len(found) < 2:
        return
    listed = "; ".join(f"'{method}': {', '.join(names[:3])}" for method, names in found.items())
    raise DataError(
        f"The training set mixes levels of theory: its files have several values of '{KEY}' ({listed}), and their "
        f"energies are as different: {odd.split(': are files of')[0]}. Take the files of one level (data.path, "
        f"data.extra), or shift energies onto one, element by element: 'data.keys={{{KEY}: level_of_theory}}' "
        f"data.mixed_levels=offset. If '{KEY}' is no level of theory: 'data.keys={{{KEY}: null}}'."
    )


def _method(file: Path, part: str) -> str:
    """What the first frame that is taken of a file says, empty if nothing."""
    record = next(iter(take(guarded(reader_for(file).records(file), file), part)), None)
    value = record.structure.get(KEY) if record else None
    return value if isinstance(value, str) else ""
