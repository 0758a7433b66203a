"""Weights & Biases, offline unless asked otherwise."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqff.checkpoints.atomic import replacing
from eqff.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from lightning.pytorch.loggers import WandbLogger

MODES = ("offline", "online", "disabled")
_ID_FILE = "wandb_run.json"


@dataclass(frozen=True)
class TrackingSettings:
    """The section ``tracking``.

    Attributes:
        mode: offline (files under the run folder, sent later with ``wandb sync``), online, or disabled.
        project: W&B project.
        entity: W&B team or user; None for the account's own.
        group: Groups runs.
        tags: Of the run.
        notes: Of the run.
    """

    mode: str = "offline"
    project: str = "eqff"
    entity: str | None = None
    group: str | None = None
    tags: Sequence[str] = field(default_factory=tuple)
    notes: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"tracking.mode: no '{self.mode}'.{did_you_mean(self.mode, MODES)}")


def wandb_logger(settings: TrackingSettings, folder: Path, name: str, config: Mapping[str, Any]) -> WandbLogger | None:
    """A Lightning logger; a resumed run keeps its id. None where tracking is disabled.

    Args:
        settings: What to send where.
        folder: The run's folder; W&B's files go below it.
        name: Of the run.
        config: Plain values shown with it: the run's config, data hash, versions, units of metrics.
    """
    if settings.mode == "disabled":
        return None
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    run = wandb.init(
        name=name,
        dir=str(folder),
        id=_run_id(folder),
        project=settings.project,
        mode=settings.mode,
        entity=settings.entity,
        group=settings.group,
        tags=list(settings.tags) or None,
        notes=settings.notes,
        resume="allow",
        config=dict(config),
        settings=wandb.Settings(silent=True),
    )
    return WandbLogger(experiment=run, log_model=False)


def _run_id(folder: Path) -> str:
    path = folder / _ID_FILE
    if not path.is_file():
        with replacing(path) as temporary:
            temporary.write_text(json.dumps({"id": uuid.uuid4().hex[:8]}) + "\n", encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))["id"]


def finish_tracking(settings: TrackingSettings, metrics: Mapping[str, float], figures: Mapping[str, Path]) -> None:
    """Adds the final metrics and figures to the process's run and closes it; nothing where tracking is disabled.

    Args:
        settings: As given to `wandb_logger`.
        metrics: For the run's summary, by name.
        figures: Image files by name.
    """
    if settings.mode == "disabled":
        return
    import wandb

    if wandb.run is None:
        return
    wandb.run.summary.update(dict(metrics))
    wandb.run.log({f"figures/{name}": wandb.Image(str(path)) for name, path in figures.items()})
    wandb.finish()
