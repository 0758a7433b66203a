"""A training from config to report."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from eqff.tracking.run_folder import RunFolder
from eqff.training.budget import Clocks
from eqff.training.finish import RunResult, finish
from eqff.training.fitting import fit
from eqff.training.preparation import prepare
from eqff.training.resuming import resumed_config


def run_training(cfg: DictConfig, overrides: Sequence[str] = (), *, since_process_start: bool = False) -> RunResult:
    """See `eqff.train.train`."""
    clocks = Clocks(since_process_start)
    folder = RunFolder.open(cfg.resume) if cfg.resume else None
    cfg = resumed_config(folder, overrides) if folder else cfg
    prepared = prepare(OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True), folder, clocks)
    budget, interrupted = fit(prepared, resume=folder is not None)
    result = finish(prepared, budget, interrupted)
    if interrupted:
        go_on = f"python -m eqff.train resume={prepared.folder.path}"
        prepared.console.print(f"Stopped; the state is saved. To go on: {go_on}", highlight=False, soft_wrap=True)
    return result
