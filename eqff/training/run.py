"""A training from config to report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from signal import SIGINT
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from torch.distributed import Store

from eqff.checkpoints import load_model
from eqff.errors import EqffError
from eqff.ranks.group import FailedElsewhere, from_first, is_first
from eqff.ranks.launch import launch
from eqff.ranks.launchers import Started
from eqff.ranks.layout import Layout
from eqff.ranks.membership import membership
from eqff.tracking.run_folder import RunFolder
from eqff.tracking.wandb import closed_on_failure
from eqff.training.budget import Clocks
from eqff.training.callbacks.persistence import Interrupted, handlers_kept
from eqff.training.finish import RunResult, earlier_result, finish
from eqff.training.fitting import fit
from eqff.training.preparation import prepare
from eqff.training.resuming import SavedState, finished, resume_command, resumed_config, saved_state
from eqff.training.settings import RunSettings


def run_training(cfg: DictConfig, overrides: Sequence[str] = (), *, since_process_start: bool = False) -> RunResult:
    """See `eqff.train.train`. Where several ranks are asked for, this starts them, unless something else has."""
    clocks = Clocks(since_process_start)
    folder = RunFolder.open(cfg.resume) if cfg.resume else None
    cfg = resumed_config(folder, overrides) if folder else cfg
    values = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    layout = Layout.of(RunSettings.from_config(values).trainer)
    if not layout.starts_ranks:
        return run_rank(values, folder, layout, clocks)
    result = launch(partial(_run_started, values, folder, layout, clocks.read()), layout.local_size)
    return replace(result, potential=load_model(result.folder, packages=tuple(values["packages"])))


def run_rank(
    cfg: dict[str, Any], folder: RunFolder | None, layout: Layout, clocks: Clocks, store: Store | None = None
) -> RunResult:
    """What each rank does, or the only process.

    Args:
        cfg: The resolved config.
        folder: Of the run to go on with; None for a new one.
        layout: The ranks, and which of them this is.
        clocks: Of this process.
        store: Where ranks meet, see `membership`.

    Returns:
        The result; on ranks other than the first without metrics.
    """
    with handlers_kept(), membership(layout, store):
        state = from_first(lambda: _found_state(folder)) if folder else None
        if folder and (text := finished(folder, cfg, state)):
            _say(text)
            return earlier_result(folder)
        prepared = prepare(cfg, folder, clocks)
        with _told_how_to_go_on(prepared.folder), closed_on_failure(prepared.settings.tracking):
            outcome = fit(prepared, layout, state)
            if not is_first():
                return RunResult(prepared.folder.path, prepared.module.potential, {}, outcome.budget, outcome.signal)
            result = finish(prepared, outcome)
        if outcome.signal:
            _say(f"Stopped; the state of step {outcome.step} is saved. To go on: {resume_command(prepared.folder)}")
        return result


def _run_started(
    cfg: dict[str, Any],
    folder: RunFolder | None,
    layout: Layout,
    earlier: dict[str, float],
    started: Started,
    store: Store,
) -> RunResult:
    """A rank that `run_training` has started; the result goes back to it without the model, which is on file."""
    clocks = Clocks(since_process_start=True, earlier=earlier if started.rank == 0 else {})
    result = run_rank(cfg, folder, replace(layout, started=started), clocks, store)
    return replace(result, potential=None)


def _found_state(folder: RunFolder) -> SavedState:
    folder.remove_leftovers()
    state = saved_state(folder)
    for note in state.notes:
        _say(note)
    _say(f"Going on from step {state.step} of {folder.path}")
    return state


@contextmanager
def _told_how_to_go_on(folder: RunFolder) -> Iterator[None]:
    """Adds to errors that a user can mend, and says when stopped at once, from which state the run can go on."""
    try:
        yield
    except FailedElsewhere:
        raise
    except EqffError as error:
        raise type(error)(f"{error}\n{_way_on(folder, ' SETTING=VALUE')}") from error
    except (Interrupted, KeyboardInterrupt) as stop:
        _say(f"Stopped at once. {_way_on(folder)}")
        raise stop if isinstance(stop, Interrupted) else Interrupted(SIGINT, at_once=True) from stop


def _way_on(folder: RunFolder, change: str = "") -> str:
    try:
        state = saved_state(folder)
    except EqffError:
        return "No state was written yet, so there is nothing to go on from."
    what = ", with another setting if that helps" if change else ""
    return f"The state of step {state.step} is kept. To go on from it{what}: {resume_command(folder)}{change}"


def _say(text: str) -> None:
    Console().print(text, highlight=False, markup=False, soft_wrap=True)
