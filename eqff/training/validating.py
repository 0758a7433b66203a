"""What a validation set can judge: settings that ask for more are refused, and what stays unseen is said."""

from __future__ import annotations

from collections.abc import Collection

from eqff.errors import ConfigError
from eqff.training.losses import Losses
from eqff.training.module import ForceFieldModule
from eqff.training.settings import TrainingSettings


def check_validation(training: TrainingSettings, module: ForceFieldModule, labels: Collection[str] | None) -> None:
    """Raises ConfigError if a metric, the monitor or early stopping asks for what no validation frame gives.

    Args:
        training: What is asked for.
        module: That is validated.
        labels: That some validation frame has; None where there is no validation set.
    """
    if labels is None:
        if training.early_stopping is not None:
            raise ConfigError("training.early_stopping needs a validation set: give data.val or data.split.val.")
        return
    for name in training.metrics:
        if name not in labels:
            raise ConfigError(
                f"training.metrics: no validation frame has '{name}'; there are {', '.join(sorted(labels)) or 'none'}. "
                f"If the file has it under another name, give data.keys.THAT_NAME={name}; if not, leave it out."
            )
    module.check_monitor(training.monitor, labels)


def validation_notes(losses: Losses, labels: Collection[str] | None) -> list[str]:
    """Lines on what validation does not see.

    Args:
        losses: What is minimised.
        labels: That some validation frame has; None where there is no validation set.
    """
    if labels is None:
        return [
            "There is no validation set (data.val, or a larger data.split.val): the weights of the last step are kept, "
            "and nothing says how good they are."
        ]
    missing = [name for name in losses.labels if name not in labels]
    if not missing:
        return []
    return [
        f"No validation frame has {', '.join(missing)}: val/loss, by which the best weights are chosen, is without "
        f"{'it' if len(missing) == 1 else 'them'}."
    ]
