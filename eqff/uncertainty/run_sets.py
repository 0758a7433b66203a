"""The structures that a run was trained on and validated with, read again as its config says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from eqff.data.atomic_data import AtomicData
from eqff.data.module import AtomicDataModule
from eqff.errors import ConfigError, DataError
from eqff.tracking.data_identity import stored_hash


def sets_of_run(folder: str | Path) -> tuple[Sequence[AtomicData], Sequence[AtomicData]]:
    """Training and validation structures of a run.

    Args:
        folder: Of the run, with its ``config.yaml``; relative paths in it are taken from the working folder.

    Raises:
        ConfigError: There is no config.
        DataError: A file can't be read any more, or holds other structures than at that time.
    """
    folder = _folder(folder)
    path = folder / "config.yaml"
    if not path.is_file():
        raise ConfigError(
            f"'{folder}' is no run folder (it has no config.yaml), so it is not known what the model was trained on. "
            "Give data.training=FILE and data.held_back=FILE."
        )
    config = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    if not isinstance(config, dict) or not isinstance(config.get("data"), dict):
        raise ConfigError(f"{path} is not the config of a training. Give data.training=FILE and data.held_back=FILE.")
    data = AtomicDataModule(**config["data"] | {"test": {}})
    data.read(also_known=range(1, 119))
    _require_same(folder, data.data_hash)
    return data.frames["train"], data.frames["val"]


def require_one_split(models: Sequence[str | Path]) -> None:
    """Raises DataError if runs had not the same training and validation sets: one may have learned what another held
    back. Runs that don't say what they had are passed over."""
    hashes = {str(model): stored_hash(_folder(model)) for model in models}
    known = {found for found in hashes.values() if found is not None}
    if len(known) > 1:
        raise DataError(
            f"The members were not trained and validated with the same structures ({', '.join(hashes)}), so that "
            "one may have learned what another held back. Give structures that none has seen, data.held_back=FILE."
        )


def _folder(model: str | Path) -> Path:
    return Path(model) if Path(model).is_dir() else Path(model).parent


def _require_same(folder: Path, found: str) -> None:
    """Raises DataError if the run's own notes say that its data were others."""
    stored = stored_hash(folder)
    if stored not in (None, found):
        raise DataError(
            f"The files that '{folder}' was trained on hold other structures now (hash {found[:12]} instead of "
            f"{stored[:12]}). Give data.training=FILE and data.held_back=FILE."
        )
