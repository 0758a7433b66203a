"""The data of a run: files to train, val and test structures, what the model takes from them, and loaders."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import lightning
from omegaconf import OmegaConf
from rich.console import Console
from torch.utils.data import DataLoader

from eqff.build import ModelContext
from eqff.data import fields as table
from eqff.data.convert import Multiplicity
from eqff.data.frame_sequence import FrameSequence
from eqff.data.levels import Levels, choose_level, count_levels, level_notes, require_files
from eqff.data.loaders import make_loader
from eqff.data.methods import require_one_method
from eqff.data.paths import PathLike, resolve_paths
from eqff.data.reading import Reading
from eqff.data.reference_energies import ChargeChoice, Choice, reference_energies
from eqff.data.reference_set import ReferenceSet, require_charge_references
from eqff.data.report import DatasetReport
from eqff.data.report_files import print_report, write_report
from eqff.data.set_checks import CHARGE_TOLERANCE
from eqff.data.sets import Paths, SetReader, Sets
from eqff.data.splits import Split, check_settings
from eqff.data.statistics import DataStatistics, compute_statistics, content_hash, mean_neighbours
from eqff.data.summary import make_report
from eqff.errors import ConfigError, DataError
from eqff.outputs import require_set_name
from eqff.ranges import Count, NonNegative, Positive, Seed, Size
from eqff.ranks.group import rank, world_size


class AtomicDataModule(lightning.LightningDataModule):
    """Everything between files and batches.

    In order: `read`, then `context` for the model, `build_neighbours` with the lists that the model asks for, loaders.

    Args:
        path: Training files (see `eqff.data.reading.read_frames`).
        extra: More training files, which are never split.
        val: Validation files; None to split them off ``path``.
        test: Test files by name; what ``split`` takes off is called "test".
        split: How ``path`` is split: ``train``, ``val``, ``test`` (shares or counts), ``seed``, ``by`` (None, "group",
            "config_type" or "formula": what is never torn apart), ``file`` (a published split instead).
        keys: Key of the files to field, where it is not recognised.
        units: Field to unit of the files.
        total_charge: e, for frames that state none.
        multiplicity: 2S+1 for frames that state none, or "lowest".
        labels: The only labels to take; all by default.
        require: Labels without which reading is refused.
        reference_energies: "least_squares", "isolated_atoms", "none" (zero), a file of isolated atoms, or element to eV
            (or to charge to eV).
        charge_reference: What reference energies add for the total charge: None, "linear" or "offsets" (fitted),
            "isolated_ions" (from where the isolated atoms come), or charge to eV.
        level_of_theory: Of frames that state none: a name, or file (or pattern) to name.
        mixed_levels: Whether a training set of several levels is refused ("refuse"), or its energies are shifted onto
            one level by the differences of the elements' energies ("offset").
        main_level: The level to shift onto; that of the first training frame by default.
        energy_scale: eV; None for the root mean square of the training forces.
        min_distance: Å; atoms closer than this are an error.
        charge_tolerance: e; structures whose charges miss the total charge by more (or spin charges the number of
            unpaired electrons) are counted in the report, the worst by name.
        batch_size: Of a training batch, of all ranks together, in what ``batch_by`` says.
        batch_by: "structures": so many in each batch. "atoms" or "edges" (of neighbour lists): at most so many.
        eval_batch_size: The same of a validation or test batch; the training one by default.
        drop_last: Leave out a last training batch that is not full.
        seed: Of the order of training batches.
        num_workers: Loader processes.
        cache: Where structures and neighbour lists are kept on disk, for data that is larger than memory
            (docs/large_data.md): a folder, "auto" (the user's cache folder if the files are large), or None for memory.
        cache_workers: Processes that build the cache; by default one for each core.

    Attributes:
        frames: Structures by split: "train", "val" and the test sets' names.
        report: What is in each split.
        reference: Reference energies and how they came about.
        statistics: What else a model takes from the training set.
        data_hash: SHA-256 over the content of training and validation set.
        indices: The split of ``path``.
    """

    def __init__(
        self,
        path: Paths,
        val: Paths | None = None,
        test: Mapping[str, Paths] | None = None,
        split: Mapping[str, Any] | None = None,
        keys: Mapping[str, str | None] | None = None,
        units: Mapping[str, str] | None = None,
        total_charge: float | None = None,
        multiplicity: Multiplicity | None = None,
        labels: Sequence[str] | None = None,
        require: Sequence[str] = ("energy", "forces"),
        reference_energies: Choice = "least_squares",
        charge_reference: ChargeChoice = None,
        level_of_theory: Levels = None,
        mixed_levels: Literal["refuse", "offset"] = "refuse",
        main_level: str | None = None,
        energy_scale: Positive | None = None,
        min_distance: NonNegative = 0.1,
        charge_tolerance: NonNegative = CHARGE_TOLERANCE,
        batch_size: Count = 5,
        batch_by: Literal["structures", "atoms", "edges"] = "structures",
        eval_batch_size: Count | None = None,
        drop_last: bool = False,
        seed: Seed = 0,
        num_workers: Size = 0,
        cache: str | None = None,
        cache_workers: Count | None = None,
        extra: Paths | None = None,
    ):
        super().__init__()
        self.path, self.extra, self.val, self.test = _plain(path), _plain(extra), _plain(val), dict(_plain(test) or {})
        self.split = dict(_plain(split) or {})
        check_settings(self.split)
        if {"train", "val"} & set(self.test):
            raise ConfigError("A test set can't be called 'train' or 'val': those are data.path and data.val.")
        for name in self.test:
            require_set_name(str(name), "data.test")
        reading = Reading(
            keys=dict(_plain(keys) or {}),
            units=dict(_plain(units) or {}),
            total_charge=total_charge,
            multiplicity=multiplicity,
            labels=_plain(labels),
            min_distance=min_distance,
            level_of_theory=_plain(level_of_theory),
        )
        self.reader = SetReader(reading, cache, cache_workers)
        self.require = tuple(table.field(name).name for name in _plain(require) or ())
        self.reference_choice, self.charge_choice = _plain(reference_energies), _plain(charge_reference)
        self.mixed_levels, self.main_level = mixed_levels, main_level
        self.energy_scale = energy_scale
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size or batch_size
        self.batch_by = batch_by
        self.drop_last, self.seed, self.num_workers = drop_last, seed, num_workers
        self.sets, self.charge_tolerance = Sets(), charge_tolerance
        self.report: dict[str, DatasetReport] = {}
        self._lists: dict[str, float] = {}

    @property
    def frames(self) -> dict[str, FrameSequence]:
        """Structures by set: "train", "val" and the test sets' names."""
        return self.sets.frames

    @property
    def indices(self) -> Split:
        """The split of ``path``."""
        return self.sets.indices

    # ------------------------------------------------------------------ files to structures

    def read(self, also_known: Collection[int] = ()) -> None:
        """Reads, splits and checks all files; makes report, reference energies and statistics.

        Args:
            also_known: Elements that validation and test sets may have though the training set lacks them, because the
                model knows them from before.

        Raises:
            DataError: Whatever makes the data unusable, with file, frame, numbers and remedy.
        """
        files = self._files(self.val or (), *self.test.values())
        require_files(self.reader.reading.level_of_theory, (file for file, _ in files))
        self.sets = self.reader.read_all(self.path, self.val, self.test, self.split, self.extra)
        self.sets.check(self.require, also_known)
        self.reference: ReferenceSet = self._find_reference()
        for frames in self.frames.values():
            frames.shift_levels(self.reference.level, self.reference.level_offsets)
        self.report = {name: self._report(name, frames) for name, frames in self.frames.items() if frames}
        self.statistics: DataStatistics = compute_statistics(self.frames["train"], self.reference)
        if self.energy_scale is not None:
            self.statistics.energy_scale = self.energy_scale
        self.data_hash = content_hash(self.frames["train"], self.frames["val"])

    def _find_reference(self) -> ReferenceSet:
        """Reference energies of the training set; refuses sets that have no place in them."""
        reading = self.reader.reading
        levels = {name: count_levels(frames.chunks()) for name, frames in self.frames.items()}
        level = choose_level(levels, self.mixed_levels, self.main_level)
        settings = {"keys": reading.keys, "units": reading.units, "charge": self.charge_choice, "level": level}
        found = reference_energies(self.reference_choice, self.frames["train"], **settings)
        if found.odd:
            require_one_method(found.odd, self._files(), reading.keys)
        for name, frames in self.frames.items():
            for columns in frames.chunks():
                require_charge_references(found, columns.energy_rows(), name)
        return replace(found, notes=(*found.notes, *level_notes(levels["train"], level)))

    def _files(self, *more: Paths) -> list[tuple[Path, str]]:
        """Training files and more of them, each with its slice of frames."""
        return [file for paths in (self.path, self.extra or (), *more) for file in resolve_paths(paths)]

    def _report(self, name: str, frames: FrameSequence) -> DatasetReport:
        account = self.sets.accounts.get(name)
        return make_report(
            name, frames, notes=self.sets.notes(name, self.charge_tolerance), unused=account.unused if account else None
        )

    # ------------------------------------------------------------------ for the model

    @property
    def reference_energies(self) -> dict[int, float]:
        """E0 of each element, Z to eV."""
        return self.reference.energies

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that some training frame has."""
        return tuple(label.name for label in self.report["train"].labels if label.frames)

    def context(self) -> ModelContext:
        """What the model takes from the data; `build_neighbours` makes ``mean_neighbours`` right."""
        known = {} if self.statistics.mean_neighbours is None else {"mean_neighbours": self.statistics.mean_neighbours}
        return ModelContext(
            elements=self.statistics.elements,
            reference_energies=self.reference_energies,
            energy_scale=self.statistics.energy_scale,
            charge_reference=self.reference.charge,
            level_of_theory=self.reference.level,
            level_offsets=self.reference.level_offsets,
            **known,
        )

    def build_neighbours(self, lists: Mapping[str, float]) -> None:
        """Builds neighbour lists (name to cutoff in Å) of training and validation set; test sets get them when used."""
        self._lists = dict(lists)
        for name in ("train", "val"):
            self._add_neighbours(name)
        if "local" in lists:
            self.statistics.mean_neighbours = mean_neighbours(self.frames["train"])

    def _add_neighbours(self, name: str) -> FrameSequence:
        self._require_lists()
        self.frames[name].add_neighbours(self._lists, name)
        return self.frames[name]

    # ------------------------------------------------------------------ loaders

    def setup(self, stage: str | None = None) -> None:
        """Lightning's hook: reads if that was not done."""
        if not self.frames:
            self.read()

    def train_dataloader(self) -> DataLoader:
        """Shuffled anew every epoch; with several ranks, this one's share of each batch."""
        self._require_lists()
        return make_loader(
            self.frames["train"],
            self.batch_size,
            batch_by=self.batch_by,
            shuffle=True,
            seed=self.seed,
            num_workers=self.num_workers,
            drop_last=self.drop_last,
            rank=rank(),
            world_size=world_size(),
        )

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """In the order of the frames, this rank's share of each batch; an empty list if there are none."""
        self._require_lists()
        if not self.frames["val"]:
            return []
        shared = {"rank": rank(), "world_size": world_size()}
        return make_loader(self.frames["val"], self.eval_batch_size, batch_by=self.batch_by, **shared)

    def test_dataloaders(self) -> dict[str, DataLoader]:
        """One for each test set, by name."""
        names = [name for name in self.frames if name not in ("train", "val")]
        size = {"batch_size": self.eval_batch_size, "batch_by": self.batch_by}
        return {name: make_loader(self._add_neighbours(name), **size) for name in names}

    def test_dataloader(self) -> list[DataLoader]:
        """Lightning's form of `test_dataloaders`."""
        return list(self.test_dataloaders().values())

    def _require_lists(self) -> None:
        if not self._lists:
            raise DataError("build_neighbours(potential.neighbour_lists) has to be called before batches are made.")

    # ------------------------------------------------------------------ for people

    def print_report(self, console: Console | None = None) -> None:
        """The sets side by side, and the reference energies."""
        print_report(console or Console(), self.report, self.reference)

    def save(self, folder: PathLike) -> None:
        """Writes ``data_report.json``, ``data_report.txt`` and ``splits.json`` into a folder."""
        about = {"data_hash": self.data_hash, "statistics": vars(self.statistics)}
        write_report(folder, self.report, self.reference, about, self.indices, source=str(self.path))


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
