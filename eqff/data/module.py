"""The data of a run: files to train, val and test structures, what the model takes from them, and loaders."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import lightning
from omegaconf import OmegaConf
from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader

from eqff.build import ModelContext
from eqff.data import fields as table
from eqff.data.atomic_data import AtomicData, fill_missing_labels
from eqff.data.checks import check_required, check_set
from eqff.data.convert import Multiplicity
from eqff.data.energy_rows import EnergyRows
from eqff.data.levels import Levels, choose_level, count_levels, level_notes, on_one_level, require_files
from eqff.data.loaders import make_loader
from eqff.data.neighbours import add_neighbours
from eqff.data.reading import FrameSet, PathLike, read_set
from eqff.data.reference_energies import ChargeChoice, Choice, elements_of, reference_energies
from eqff.data.reference_set import ReferenceSet, require_charge_references
from eqff.data.report import DatasetReport, make_report, overview
from eqff.data.splits import Split, check_settings, read_split, split_indices, write_split
from eqff.data.statistics import DataStatistics, compute_statistics, content_hash, geometry_hash, mean_neighbours
from eqff.errors import ConfigError, DataError, did_you_mean
from eqff.ranges import Count, NonNegative, Positive, Size
from eqff.ranks.group import rank, world_size

Paths = PathLike | Sequence[PathLike]
_LONG = 20_000  # atoms from which on building neighbour lists is worth a progress bar


class AtomicDataModule(lightning.LightningDataModule):
    """Everything between files and batches.

    In order: `read`, then `context` for the model, `build_neighbours` with the lists that the model asks for, loaders.

    Args:
        path: Training files (see `eqff.data.reading.read_frames`).
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
        reference_energies: "least_squares", "isolated_atoms", a file of isolated atoms, or element to eV (or to charge
            to eV).
        charge_reference: What reference energies add for the total charge: None, "linear" or "offsets" (fitted),
            "isolated_ions" (from where the isolated atoms come), or charge to eV.
        level_of_theory: Of frames that state none: a name, or file (or pattern) to name.
        mixed_levels: Whether a training set of several levels is refused ("refuse"), or its energies are shifted onto
            one level by the differences of the elements' energies ("offset").
        main_level: The level to shift onto; that of the first training frame by default.
        energy_scale: eV; None for the root mean square of the training forces.
        min_distance: Å; atoms closer than this are an error.
        batch_size: Of a training batch, of all ranks together, in what ``batch_by`` says.
        batch_by: "structures": so many in each batch. "atoms" or "edges" (of neighbour lists): at most so many.
        eval_batch_size: The same of a validation or test batch; the training one by default.
        drop_last: Leave out a last training batch that is not full.
        seed: Of the order of training batches.
        num_workers: Loader processes.

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
        batch_size: Count = 5,
        batch_by: Literal["structures", "atoms", "edges"] = "structures",
        eval_batch_size: Count | None = None,
        drop_last: bool = False,
        seed: int = 0,
        num_workers: Size = 0,
    ):
        super().__init__()
        self.path, self.val, self.test = _plain(path), _plain(val), dict(_plain(test) or {})
        self.split = dict(_plain(split) or {})
        check_settings(self.split)
        if {"train", "val"} & set(self.test):
            raise ConfigError("A test set can't be called 'train' or 'val': those are data.path and data.val.")
        self.reading = {
            "keys": dict(_plain(keys) or {}),
            "units": dict(_plain(units) or {}),
            "total_charge": total_charge,
            "multiplicity": multiplicity,
            "labels": _plain(labels),
            "min_distance": min_distance,
            "level_of_theory": _plain(level_of_theory),
        }
        self.require = tuple(table.field(name).name for name in _plain(require) or ())
        self.reference_choice, self.charge_choice = _plain(reference_energies), _plain(charge_reference)
        self.mixed_levels, self.main_level = mixed_levels, main_level
        self.energy_scale = energy_scale
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size or batch_size
        self.batch_by = batch_by
        self.drop_last, self.seed, self.num_workers = drop_last, seed, num_workers
        self.frames: dict[str, list[AtomicData]] = {}
        self.report: dict[str, DatasetReport] = {}
        self.indices: Split = {}
        self._lists: dict[str, float] = {}
        self._sets: dict[str, FrameSet] = {}

    # ------------------------------------------------------------------ files to structures

    def read(self) -> None:
        """Reads, splits and checks all files; makes report, reference energies and statistics.

        Raises:
            DataError: Whatever makes the data unusable, with file, frame, numbers and remedy.
        """
        source = self._read(self.path)
        self.indices = self._split(source.frames)
        self.frames = {name: [source.frames[i] for i in self.indices[name]] for name in ("train", "val")}
        self._sets = {"train": source}
        if self.val is not None:
            self._take("val", self.val)
        if self.indices["test"]:
            self.frames["test"] = [source.frames[i] for i in self.indices["test"]]
        for name, path in self.test.items():
            self._take(name, path)
        fill_missing_labels([frame for frames in self.frames.values() for frame in frames])
        self._check_elements()
        train = self.frames["train"]
        check_required(train, self.require, source.unused)
        self.reference: ReferenceSet = self._find_reference()
        self.frames = on_one_level(self.frames, self.reference.level, self.reference.level_offsets)
        train = self.frames["train"]
        known = {geometry_hash(frame) for frame in train}
        self.report = {name: self._report(name, frames, known) for name, frames in self.frames.items() if frames}
        self.statistics: DataStatistics = compute_statistics(train, self.reference)
        if self.energy_scale is not None:
            self.statistics.energy_scale = self.energy_scale
        self.data_hash = content_hash([*train, *self.frames["val"]])

    def _find_reference(self) -> ReferenceSet:
        """Reference energies of the training set; refuses sets that have no place in them."""
        levels = {name: count_levels(frames) for name, frames in self.frames.items()}
        require_files(self.reading["level_of_theory"], levels)
        level = choose_level(levels, self.mixed_levels, self.main_level)
        reading = {key: self.reading[key] for key in ("keys", "units")}
        settings = {"charge": self.charge_choice, "level": level}
        found = reference_energies(self.reference_choice, self.frames["train"], **reading, **settings)
        for name, frames in self.frames.items():
            require_charge_references(found, EnergyRows.of(frames), name)
        return replace(found, notes=(*found.notes, *level_notes(levels["train"], level)))

    def _read(self, path: Paths) -> FrameSet:
        return read_set(path, **self.reading)

    def _take(self, name: str, path: Paths) -> None:
        if self.frames.get(name):
            raise DataError(f"There are two '{name}' sets: one of its own, and one split off data.path (split.{name}).")
        self._sets[name] = self._read(path)
        self.frames[name] = self._sets[name].frames

    def _split(self, frames: Sequence[AtomicData]) -> Split:
        settings = dict(self.split)
        by, file = settings.pop("by", None), settings.pop("file", None)
        if file is not None:
            return read_split(file, len(frames))
        settings = {key: value for key, value in settings.items() if value is not None or key == "train"}
        if self.val is not None:
            settings["val"] = 0
        return split_indices(len(frames), groups=None if by is None else grouping(frames, by), **settings)

    def _check_elements(self) -> None:
        known = set(elements_of(self.frames["train"]))
        for name, frames in self.frames.items():
            for frame in frames:
                extra = sorted(set(frame.numbers.tolist()) - known)
                if extra:
                    raise DataError(
                        f"{name}: {frame.place} has element(s) Z={extra} that no training frame has, so the model "
                        "can't know them. Leave such frames out, or put some into the training set."
                    )

    def _report(self, name: str, frames: list[AtomicData], train: set[bytes]) -> DatasetReport:
        source = self._sets.get(name, FrameSet())
        notes = [*source.notes, *check_set(frames)]
        if name != "train":
            common = sum(geometry_hash(frame) in train for frame in frames)
            notes += [f"{common} of these structures are in the training set too"] if common else []
        return make_report(name, frames, notes=notes, unused=source.unused)

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

    def _add_neighbours(self, name: str) -> list[AtomicData]:
        self._require_lists()
        frames = self.frames[name]
        long = sum(frame.num_nodes for frame in frames) > _LONG
        for frame in track(frames, f"neighbour lists: {name}", disable=not long, transient=True):
            add_neighbours(frame, self._lists)
        return frames

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
        console = console or Console()
        for item in overview(self.report):
            console.print(item)
        console.print(f"Reference energies ({self.reference.method})")
        console.print(self.reference.table())
        for note in self.reference.notes:
            console.print(f"  {note}")

    def save(self, folder: PathLike) -> None:
        """Writes ``data_report.json``, ``data_report.txt`` and ``splits.json`` into a folder."""
        folder = Path(folder)
        content = {
            "data_hash": self.data_hash,
            "sets": {name: report.to_dict() for name, report in self.report.items()},
            "reference_energies": self.reference.to_dict(),
            "statistics": vars(self.statistics),
        }
        (folder / "data_report.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        with (folder / "data_report.txt").open("w") as file:
            console = Console(file=file, width=120)
            self.print_report(console)
            for report in self.report.values():
                console.print(report.table())
        write_split(folder / "splits.json", self.indices, source=str(self.path), data_hash=self.data_hash)


def grouping(frames: Sequence[AtomicData], by: str) -> list[str]:
    """What is not to be torn apart: the group of each frame.

    Args:
        frames: The structures.
        by: "group", "config_type", or "formula" (composition and nothing else: isomers stay together).

    Raises:
        DataError: A frame has none.
    """
    choices = {
        "group": lambda frame: frame.group,
        "config_type": lambda frame: frame.config_type,
        "formula": lambda frame: str(sorted(frame.numbers.tolist())),
    }
    if by not in choices:
        raise DataError(f"split.by can't be '{by}'.{did_you_mean(by, choices)}")
    groups = [choices[by](frame) for frame in frames]
    if not all(groups):
        place = frames[groups.index("")].place
        raise DataError(f"{place}: no {by} to split by. Name the key that has it: data.keys={{KEY: {by}}}.")
    return groups


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
