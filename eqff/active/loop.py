"""The loop: choose, label, train, and again; every step leaves a file, so that it can be stopped anywhere and go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eqff.active.candidates import without
from eqff.active.going_on import require_same, require_same_structures
from eqff.active.labelling import Labeller, by_command, checked_labels, looked_up, write_frames
from eqff.active.selecting import select, write_selection
from eqff.active.settings import ActiveSettings
from eqff.active.training import check_training, model_of_round, train_round
from eqff.data.atomic_data import AtomicData
from eqff.data.reading import read_frames
from eqff.errors import ConfigError, DataError, EqffError
from eqff.locking import locked
from eqff.simulation.finish import write_json
from eqff.sweeps.progress import result_of

Report = Callable[[str], None]
RESULT_FILE, LOCK_FILE = "result.json", "active.lock"
CHOSEN, LABELLED, TRAIN = "chosen.extxyz", "labelled.extxyz", "train.extxyz"
_STOPPED = 130  # exit code after a signal


class ActiveLoop:
    """A loop and its folder.

    Args:
        chosen: Settings.
        report: Is told what is done.
    """

    def __init__(self, chosen: ActiveSettings, report: Report = lambda line: None):
        self.chosen, self.report = chosen, report
        self.folder = Path(chosen.output).expanduser()
        self._held_back: list[AtomicData] = []
        self._pool: list[AtomicData] = []

    def run(self) -> list[dict[str, Any]]:
        """All rounds that are not done yet.

        Returns:
            One row a round: labels, metrics, uncertainties of what was chosen from.

        Raises:
            ConfigError: The folder holds a loop with other settings, or another process works in it.
            DataError: A file can't be used, or the labeller failed.
            TrainingError: A training failed.
        """
        with locked(self.folder / LOCK_FILE, "loop"), self._told_how_to_go_on():
            check_training(self.chosen, self.folder_of(0))
            require_same(self.folder, self.chosen, self.report)
            self._held_back = read_frames(self.chosen.held_back, **self.chosen.reading)
            self._pool = self._read_pool()
            require_same_structures(self.folder, self._held_back, self._pool, self.report)
            return [self._round(number) for number in range(self.chosen.rounds)]

    def folder_of(self, number: int) -> Path:
        """Of a round, from 0."""
        return self.folder / f"round_{number:02d}"

    def _read_pool(self) -> list[AtomicData]:
        if self.chosen.pool is None:
            return []
        frames = read_frames(self.chosen.pool, **self.chosen.reading)
        if not frames:
            raise DataError(f"pool: there are no structures in {self.chosen.pool}.")
        kept = without(frames, self._held_back)
        if len(kept) < len(frames):
            self.report(f"{len(frames) - len(kept)} structures of the pool are copies or held back: left out.")
        return [frames[i] for i in kept]

    def _round(self, number: int) -> dict[str, Any]:
        folder = self.folder_of(number)
        result = folder / RESULT_FILE
        if result.is_file():
            return json.loads(result.read_text())
        folder.mkdir(exist_ok=True)
        about = self._data(number, folder)
        labels = len(read_frames(folder / TRAIN, **self.chosen.reading))
        self.report(f"Round {number}: training on {labels} structures")
        before = self.folder_of(number - 1) if number else None
        metrics = train_round(self.chosen, folder, before)
        row = {"round": number, "labels": labels} | about | {"metrics": metrics}
        write_json(result, row)
        return row

    def _data(self, number: int, folder: Path) -> dict[str, Any]:
        """Everything up to the training set of a round; returns what the choice said of the pool."""
        about, target = folder / "choice.json", folder / TRAIN
        labelled: list[AtomicData] = []
        if number or self.chosen.initial is None:
            if not about.is_file():
                write_json(about, self._choose(number, folder))
            labelled = self._label(number, folder)
        if not target.is_file():
            write_frames(target, [*self._known(number), *labelled])
        return json.loads(about.read_text()) if about.is_file() else {}

    def _known(self, number: int) -> list[AtomicData]:
        """What the rounds before were trained on."""
        if number:
            return read_frames(self.folder_of(number - 1) / TRAIN, **self.chosen.reading)
        return read_frames(self.chosen.initial, **self.chosen.reading) if self.chosen.initial is not None else []

    def _choose(self, number: int, folder: Path) -> dict[str, Any]:
        """Writes the structures to label; says how uncertain the model is about what there was to choose from."""
        chosen = self.chosen
        potential = model_of_round(chosen, self.folder_of(number - 1)) if number else None
        pool = self._pool if chosen.simulate is None else self._explored(number, folder, potential)
        tried = [frame for k in range(number) for frame in _frames(self.folder_of(k) / CHOSEN, chosen.reading)]
        left = [pool[i] for i in without(pool, [*tried, *self._held_back])]
        if not left:
            raise DataError(f"All {len(pool)} structures of the pool are labelled already. Give fewer rounds, or more.")
        self.report(f"Round {number}: choosing from {len(left)} structures")
        selection = select(
            left,
            chosen.count if number else chosen.first,
            strategy=chosen.strategy if number else "random",
            potential=potential,
            known=self._known(number),
            errors=self._held_back if chosen.strategy == "worst_clusters" and number else (),
            clusters=chosen.clusters,
            seed=chosen.seed + number,
        )
        write_selection(folder / CHOSEN, selection)
        doubts = selection.pool_uncertainty
        of_pool = {} if doubts is None else dict(zip(("pool_mean", "pool_largest"), doubts, strict=True))
        return {"chosen": len(selection.frames), "left": selection.left, "uncertainty_eV_per_A": of_pool}

    def _explored(self, number: int, folder: Path, potential: Any) -> list[AtomicData]:
        """Frames of a simulation with the model of the round before."""
        from eqff.config import settings
        from eqff.simulate import simulate_potential
        from eqff.simulation import SimulationSettings
        from eqff.simulation.doubts import FRAMES as UNCERTAIN

        target, section = folder / "simulation", dict(self.chosen.simulate or {})
        if not (target / RESULT_FILE).is_file() or result_of(target).get("interrupted"):
            self.report(f"Round {number}: simulating")
            outcome = simulate_potential(potential, section | {"seed": self.chosen.seed + number}, target)
            self.report(f"Round {number}: {outcome['message']}")
            if outcome.get("interrupted"):  # what it has so far is not what was asked for
                raise SystemExit(_STOPPED)
        names = (settings(SimulationSettings, section, "simulate").trajectory, UNCERTAIN)
        return [f for name in names for f in _frames(target / name, self.chosen.reading)]

    def _label(self, number: int, folder: Path) -> list[AtomicData]:
        source, target = folder / CHOSEN, folder / LABELLED
        if not target.is_file():
            self.report(f"Round {number}: labelling")
            self._labeller()(source, target)
        frames, missing = checked_labels(source, target, self.chosen.reading)
        if missing:
            self.report(
                f"Round {number}: {missing} of {missing + len(frames)} structures got no label; going on without"
            )
        return frames

    def _labeller(self) -> Labeller:
        if self.chosen.label is None:
            return looked_up(self._pool, self.chosen.reading)
        return by_command(self.chosen.label, self.chosen.launching)

    @contextmanager
    def _told_how_to_go_on(self) -> Iterator[None]:
        try:
            yield
        except ConfigError:
            raise
        except EqffError as error:
            text = f"{error}\nNothing is lost: the same command goes on in {self.folder} from where this happened."
            raise type(error)(text) from error


def _frames(path: Path, reading: dict[str, Any]) -> Sequence[AtomicData]:
    """Structures of a file without their labels; none if it is not there or empty."""
    return read_frames(path, **reading, labels=()) if path.is_file() and path.stat().st_size else ()
