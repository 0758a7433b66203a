"""How far training is, for people: a bar on a terminal, a line per validation everywhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from eqff.training.budget import Budget
from eqff.training.memory import peak_memory
from eqff.training.throughput import Throughput

_REDRAW_SECONDS = 0.5


class ProgressReport(Callback):
    """Shows epoch, errors, throughput, memory, the share of time spent waiting for data, and time left.

    Time left is judged by the budget's own clock: by how fast its share has grown in this run.

    Args:
        budget: Tells the share that is done.
        console: Where to write.
        names: Validation metrics on the lines; the unit of each by name.
        bar: Whether to draw one; it is only drawn on a terminal.
    """

    def __init__(self, budget: Budget, console: Console, names: dict[str, str], bar: bool = True):
        self.budget = budget
        self.console = console
        self.names = names
        self.bar = bar and console.is_terminal
        self._progress: Progress | None = None
        self._clear()

    def _clear(self) -> None:
        self._started = self._drawn = time.perf_counter()
        self._fraction = 0.0
        self._throughput = Throughput()
        self._speed = ""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the bar."""
        self._clear()
        self._fraction = self.budget.fraction
        if self.bar and trainer.is_global_zero:
            columns = (TextColumn("training"), BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"))
            self._progress = Progress(*columns, console=self.console, auto_refresh=False, transient=True)
            self._task = self._progress.add_task("", total=1.0)
            self._progress.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draws anew if it is time."""
        waited = trainer.train_dataloader.seconds_waited
        self._throughput.step_ended(batch.num_graphs, len(batch.batch), waited)
        if time.perf_counter() - self._drawn < _REDRAW_SECONDS:
            return
        self._measure()
        if self._progress is not None:
            text = f"epoch {trainer.current_epoch + 1} · {self._speed} · {self._left()} left"
            self._progress.update(self._task, completed=self.budget.fraction, description=text, refresh=True)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measures throughput up to here, so that validation isn't in it."""
        self._measure()

    def _measure(self) -> None:
        rates = self._throughput.read()
        if rates:
            self._speed = speed(rates, peak_memory())
        self._throughput.clear()
        self._drawn = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints a line of errors."""
        if trainer.state.fn == "fit" and trainer.is_global_zero:
            values = trainer.callback_metrics
            errors = "  ".join(f"{n} {values[n]:.4g} {u}" for n, u in self.names.items() if n in values)
            done = f"{100 * self.budget.fraction:5.1f} %  epoch {trainer.current_epoch + 1}  step {trainer.global_step}"
            self.console.print(f"{done}  {errors}  {self._speed}  {self._left()} left", highlight=False, soft_wrap=True)
        self._throughput.clear()
        self._drawn = time.perf_counter()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the bar away."""
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Takes the bar away."""
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _left(self) -> str:
        done, fraction = time.perf_counter() - self._started, self.budget.fraction
        if fraction <= self._fraction:
            return "?"
        return duration(done * (1.0 - fraction) / (fraction - self._fraction))


def speed(rates: Mapping[str, float], memory: Mapping[str, float]) -> str:
    """For people: "250 structures/s  2100 atoms/s  3 % waiting for data  0.41 GiB"."""
    parts = [f"{rates['structures_per_second']:.0f} structures/s", f"{rates['atoms_per_second']:.0f} atoms/s"]
    parts += [f"{100 * rates['data_wait_share']:.0f} % waiting for data"]
    parts += [f"{value:.2f} GiB{' of GPU' if name.startswith('gpu') else ''}" for name, value in memory.items()]
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """For people: "45 s", "3:20 min", "2:05 h"."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}:{rest:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d} h"
