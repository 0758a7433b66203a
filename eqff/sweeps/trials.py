"""What a training knows of the trial that it is: where the search is kept, and by what it is judged.

It stands in the environment, not in the config: the same run outside of a search has the same config.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqff.errors import ConfigError

if TYPE_CHECKING:
    import optuna

VARIABLE = "EQFF_TRIAL"
NAME = "sweep"
_JOURNAL = "search.journal"


def optuna_module(needed_for: str = "A search") -> Any:
    """Optuna.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            f"{needed_for} needs optuna, which is not installed: pip install 'eqff[sweep]'. All combinations of values "
            "need nothing: sweep.search=grid."
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def journal(folder: Path) -> optuna.storages.BaseStorage:
    """The file in which a search is kept; several machines may write it over a network's file system."""
    optuna_module()
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(folder / _JOURNAL)))


def written_trial(folder: Path, number: int, metric: str, pruner: str, validations: int) -> str:
    """The text of the variable, see `current_trial`."""
    known = {"folder": str(folder.resolve()), "number": number, "metric": metric}
    return json.dumps(known | {"pruner": pruner, "validations": validations})


def current_trial() -> tuple[optuna.trial.Trial, str] | None:
    """The trial that this process trains, and the metric that it is judged by; None outside of a search.

    Raises:
        ConfigError: Optuna is not installed.
    """
    text = os.environ.get(VARIABLE)
    if text is None:
        return None
    from eqff.sweeps.search import make_pruner

    known, optuna = json.loads(text), optuna_module()
    pruner = make_pruner(known["pruner"], known["validations"])
    study = optuna.load_study(study_name=NAME, storage=journal(Path(known["folder"])), pruner=pruner)
    number = known["number"]
    found = next(trial for trial in study.get_trials(deepcopy=False) if trial.number == number)
    return optuna.trial.Trial(study, found._trial_id), known["metric"]
