"""Weights & Biases, offline unless asked otherwise."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqff.checkpoints.atomic import replacing
from eqff.errors import ConfigError, did_you_mean
from eqff.tracking.costs import Cost

if TYPE_CHECKING:
    from lightning.pytorch.loggers import WandbLogger

MODES = ("offline", "online", "disabled")
_ID_FILE = "wandb_run.json"

UNNAMED = "run"
"""The name in the config of a run whose user gave none, see ``conf/train.yaml``."""


@dataclass(frozen=True)
class TrackingSettings:
    """The section ``tracking``.

    Attributes:
        mode: offline (files under the run folder, sent later with ``wandb sync``), online, or disabled.
        project: W&B project.
        entity: W&B team or user; None for the account's own.
        group: Groups runs.
        job_type: What kind of run it is within its group.
        tags: Of the run.
        notes: Of the run.
        artifacts: Whether a finished run gives data card, model file, and report with tables and figures as artifacts.
    """

    mode: str = "offline"
    project: str = "eqff"
    entity: str | None = None
    group: str | None = None
    job_type: str | None = "train"
    tags: Sequence[str] = field(default_factory=tuple)
    notes: str | None = None
    artifacts: bool = True

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"tracking.mode: no '{self.mode}'.{did_you_mean(self.mode, MODES)}")


def wandb_logger(
    settings: TrackingSettings,
    folder: Path,
    name: str,
    config: Mapping[str, Any],
    clocks: Mapping[str, Callable[[], float]],
) -> WandbLogger | None:
    """A Lightning logger; a resumed run keeps its id. None where tracking is disabled.

    Args:
        settings: What to send where.
        folder: The run's folder; W&B's files go below it.
        name: Of the run in its config.
        config: Plain values shown with it: the run's config, data hash, versions, units of metrics.
        clocks: More columns of every row, by name.

    Raises:
        ConfigError: W&B doesn't take the run: nobody is logged in, there is no network, or no such entity.
    """
    if settings.mode == "disabled":
        return None
    import wandb

    from eqff.tracking.wandb_logger import ClockedWandbLogger

    identity, shown = _identity(folder, name)
    try:
        run = wandb.init(
            name=shown,
            dir=str(folder),
            id=identity,
            project=settings.project,
            mode=settings.mode,
            entity=settings.entity,
            group=settings.group,
            job_type=settings.job_type,
            tags=list(settings.tags) or None,
            notes=settings.notes,
            resume="allow",
            config=dict(config),
            settings=wandb.Settings(silent=True),
        )
    except wandb.Error as error:
        raise ConfigError(
            f"tracking.mode={settings.mode}: W&B doesn't take the run: {' '.join(str(error).split())} Log in once "
            "(wandb login), or write it beside the run and send it later: tracking.mode=offline, then wandb sync."
        ) from error
    return ClockedWandbLogger(run, clocks)


def _identity(folder: Path, name: str) -> tuple[str, str]:
    """W&B's id of a run and its name there; both stay when it is resumed, and when its folder is moved.

    A run without a name of its own is called after its folder: else all of them would be called the same.
    """
    path = folder / _ID_FILE
    if not path.is_file():
        known = {"id": uuid.uuid4().hex[:8], "folder": folder.resolve().name}
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(known) + "\n", encoding="utf-8")
    known = json.loads(path.read_text(encoding="utf-8"))
    return known["id"], known.get("folder", name) if name == UNNAMED else name


@dataclass(frozen=True)
class Ending:
    """What is known of a run in the end.

    Attributes:
        folder: Of the run.
        metrics: Of the kept weights.
        cost: What it has used.
        kept: Which weights they are.
        interrupted: Whether the run was told to stop; it gives no tables or artifacts then.
        figures: Image files by name.
    """

    folder: Path
    metrics: Mapping[str, float]
    cost: Cost
    kept: str
    interrupted: bool
    figures: Mapping[str, Path]


@contextmanager
def closed_on_failure(settings: TrackingSettings) -> Iterator[None]:
    """Closes the process's run if the block raises: a later training of the same process would go on in it.

    Args:
        settings: As given to `wandb_logger`.
    """
    try:
        yield
    except BaseException:
        if settings.mode != "disabled":
            import wandb

            if wandb.run is not None:
                wandb.finish(exit_code=1)
        raise


def finish_tracking(settings: TrackingSettings, ending: Ending) -> None:
    """Adds the ending to the process's run and closes it; nothing where tracking is disabled.

    Args:
        settings: As given to `wandb_logger`.
        ending: What to add.
    """
    if settings.mode == "disabled":
        return
    import wandb

    run = wandb.run
    if run is None:
        return
    cost = {f"cost/{name}": value for name, value in vars(ending.cost).items() if value is not None}
    run.summary.update({**ending.metrics, **cost, "kept": ending.kept, "interrupted": ending.interrupted})
    run.log({f"figures/{name}": wandb.Image(str(path)) for name, path in ending.figures.items()})
    if not ending.interrupted:
        from eqff.tracking.wandb_artifacts import log_artifacts, log_tables

        log_tables(run, ending.folder)
        if settings.artifacts:
            about = run.config.get("about") or {}
            known = {name: about.get(name) for name in ("data_hash", "parameters", "git_commit")}
            log_artifacts(run, ending.folder, known | dict(ending.metrics))
    wandb.finish()
