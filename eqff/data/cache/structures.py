"""Structures in a folder of .npy files: written chunk by chunk, read through memory maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eqff.data import fields as table
from eqff.data.cache.folder import map_folder, read_manifest, write_manifest
from eqff.data.cache.npy import NpyAppender
from eqff.data.cache.rows import Rows, rows_of, structure_rows, take
from eqff.data.columns import INPUTS, TEXTS, Columns, unknown
from eqff.data.external import NAMES as EXTERNAL_NAMES

_STORED = {"numbers": np.uint8, "pbc": np.bool_}
_GIVEN = {"numbers": np.int64}
_EXTERNAL_ENDS = "external_ends"
EXTRAS = ("shortest", "fingerprint")
"""Per structure: shortest distance in Å, and the hash of what it is without its labels."""


class StructureWriter:
    """Appends chunks of structures to a folder. A label that turns up later is NaN in what came before.

    Args:
        folder: Empty.

    Attributes:
        frames: Structures written.
        atoms: Their atoms.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.frames = self.atoms = self._external = 0
        self._files: dict[str, NpyAppender] = {}
        self._codes: dict[str, dict[str, int]] = {name: {} for name in TEXTS}
        self._append("ends", np.zeros(1, np.int64))

    def add(self, columns: Columns, extras: Mapping[str, np.ndarray]) -> None:
        """Writes a chunk, with `EXTRAS` of its structures."""
        labels = [name.split(".")[1] for name in self._files if name.startswith("label.")]
        for name in columns.labels:
            if name not in labels:
                self._append(f"label.{name}", unknown(name, self.atoms, self.frames))
        for name in dict.fromkeys([*labels, *columns.labels]):
            missing = name not in columns.values
            values = unknown(name, int(columns.ends[-1]), len(columns)) if missing else columns.values[name]
            self._append(f"label.{name}", values)
        for name in INPUTS:
            if name not in EXTERNAL_NAMES and self._needs(name, columns):
                self._append(name, columns.values[name])
        self._add_external(columns)
        for name, codes in self._codes.items():
            self._append(name, np.array([codes.setdefault(text, len(codes)) for text in columns.texts[name]], np.int32))
        for name in EXTRAS:
            self._append(name, extras[name])
        self._append("frame", columns.frame)
        self._append("ends", columns.ends + self.atoms)
        self.frames += len(columns)
        self.atoms += int(columns.ends[-1])

    def close(self, about: Mapping[str, Any]) -> None:
        """Finishes the files and writes the manifest, ``about`` in it."""
        files = {f"{name}.npy": file.close() for name, file in self._files.items()}
        texts = {name: list(codes) for name, codes in self._codes.items()}
        numbers = {"frames": self.frames, "atoms": self.atoms}
        write_manifest(self.folder, {**about, **numbers, "files": files, "texts": texts})

    def _needs(self, name: str, columns: Columns) -> bool:
        """Whether an input is written: an optional one is not before a structure states it, and then for all."""
        if name not in table.optional_inputs() or name in self._files:
            return True
        if not columns.stated(name).any():
            return False
        self._append(name, unknown(name, self.atoms, self.frames))
        return True

    def _add_external(self, columns: Columns) -> None:
        """External charges; in folders without any there are no files of them."""
        counts = columns.rows(EXTERNAL_NAMES[0])
        if _EXTERNAL_ENDS not in self._files:
            if not counts.any():
                return
            self._append(_EXTERNAL_ENDS, np.zeros(self.frames + 1, np.int64))
        for name in EXTERNAL_NAMES:
            self._append(name, columns.values[name])
        self._append(_EXTERNAL_ENDS, counts.cumsum() + self._external)
        self._external += int(counts.sum())

    def _append(self, name: str, rows: np.ndarray) -> None:
        if name not in self._files:
            dtype = _STORED.get(name, rows.dtype)
            self._files[name] = NpyAppender(self.folder / f"{name}.npy", dtype, rows.shape[1:])
        self._files[name].append(rows)


class StructureStore:
    """The structures of a folder.

    Args:
        folder: Finished, see `StructureWriter`.
        renamed: What sources are called now, by what they were called when this was written.

    Attributes:
        manifest: See `StructureWriter.close`.
        labels: That some structure has.
    """

    def __init__(self, folder: Path, renamed: Mapping[str, str] | None = None):
        self.folder = folder
        self._renamed = dict(renamed or {})
        self.manifest = read_manifest(folder, thorough=False)
        self._arrays = map_folder(folder, self.manifest["files"])
        self._texts = {name: np.array(words, dtype=object) for name, words in self.manifest["texts"].items()}
        self._texts["source"] = np.array([self._renamed.get(w, w) for w in self._texts["source"]], dtype=object)
        self.ends: np.ndarray = self._arrays["ends"]
        self.labels = tuple(name for name in table.names("label") if f"label.{name}" in self._arrays)

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __reduce__(self) -> tuple[type, tuple[Path, dict[str, str]]]:
        return StructureStore, (self.folder, self._renamed)  # other processes map the files themselves

    def read(self, index: np.ndarray, labels: Sequence[str]) -> tuple[Columns, Rows]:
        """Structures ``index`` (F,) with these labels, and where their atoms are."""
        atoms, sizes = rows_of(self.ends, index)
        structures, counts = structure_rows(index), None
        where = {"atom": atoms, "structure": structures}
        if _EXTERNAL_ENDS in self._arrays:
            where["external"], counts = rows_of(self._arrays[_EXTERNAL_ENDS], index)
        values = {}
        for name in (*INPUTS, *labels):
            stored = self._arrays.get(name if name in INPUTS else f"label.{name}")
            if stored is None:
                values[name] = unknown(name, int(sizes.sum()), len(index))
                continue
            rows = take(stored, where[table.field(name).level])
            values[name] = rows.astype(_GIVEN.get(name, rows.dtype), copy=False)
        texts = {name: words[take(self._arrays[name], structures)] for name, words in self._texts.items()}
        return Columns(sizes, values, texts, take(self._arrays["frame"], structures), counts), atoms

    def extra(self, name: str, index: np.ndarray) -> np.ndarray:
        """One of `EXTRAS` of structures ``index`` (F,)."""
        return take(self._arrays[name], structure_rows(index))

    def texts(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A text of all structures: (words, code of each structure)."""
        return self._texts[name], self._arrays[name]
