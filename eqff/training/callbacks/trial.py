"""A training that is a trial of a search: it reports every validation, and ends if it falls behind the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lightning import Callback, LightningModule, Trainer

from eqff.errors import ConfigError
from eqff.sweeps.trials import current_trial
from eqff.tracking.run_folder import RunFolder
from eqff.tracking.run_format import PRUNED

if TYPE_CHECKING:
    import optuna


class TrialReport(Callback):
    """Reports to Optuna, and stops where its pruner says so.

    Validations of one training fall on other steps than those of another; so they are numbered by the share of the
    budget at which they are, in units of the ``validations`` that are spread over it.

    Args:
        trial: Optuna's.
        metric: That is reported.
        folder: Of the run, which notes that it was ended.
        progress: Share of the budget that is used.
        validations: In a whole training.
    """

    def __init__(
        self,
        trial: optuna.trial.Trial,
        metric: str,
        folder: RunFolder,
        progress: Callable[[], float],
        validations: int,
    ):
        self.trial, self.metric, self.folder = trial, metric, folder
        self.progress, self.validations = progress, validations

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reports, and decides.

        Raises:
            ConfigError: There is no such metric.
        """
        value = trainer.callback_metrics.get(self.metric)
        if value is None:
            known = ", ".join(sorted(name for name in trainer.callback_metrics if name.startswith("val/")))
            raise ConfigError(f"sweep.metric: there is no '{self.metric}' to report during training. Known: {known}.")
        behind = trainer.is_global_zero and self._behind(float(value))
        if trainer.strategy.reduce_boolean_decision(behind, all=False) and not trainer.should_stop:
            trainer.should_stop = True
            if trainer.is_global_zero:
                about = {"step": trainer.global_step, "metric": self.metric, "value": float(value)}
                self.folder.write_json(PRUNED, {**about, "trial": self.trial.number})

    def _behind(self, value: float) -> bool:
        place = round(self.progress() * self.validations)
        known = self.trial.study.get_trials(deepcopy=False)[self.trial.number].intermediate_values
        if place not in known:  # a resumed training comes by again
            self.trial.report(value, place)
        return place < self.validations and self.trial.should_prune()


def trial_report(folder: RunFolder, progress: Callable[[], float], validations: int) -> list[Callback]:
    """The callback, where this process trains a trial; else none.

    Args:
        folder: Of the run.
        progress: Share of the budget that is used.
        validations: In a whole training.
    """
    found = current_trial()
    return [] if found is None else [TrialReport(*found, folder, progress, validations)]
