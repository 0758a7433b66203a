"""How good a model is: predictions compared with labels, in units that people use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eqff.evaluation.evaluation import Evaluation as Evaluation
    from eqff.evaluation.evaluation import evaluate_potential as evaluate_potential
    from eqff.evaluation.metrics import Errors as Errors
    from eqff.evaluation.predictions import Prediction as Prediction
    from eqff.evaluation.predictions import predict as predict
    from eqff.evaluation.report import figures as figures
    from eqff.evaluation.report import to_dict as to_dict
    from eqff.evaluation.report import write_predictions as write_predictions
    from eqff.evaluation.report import write_report as write_report
    from eqff.evaluation.states import count_states as count_states
    from eqff.evaluation.states import unseen_states as unseen_states
    from eqff.evaluation.tables import markdown as markdown
    from eqff.evaluation.tables import rich_report as rich_report

# looked up on first use: reports draw figures and do statistics, and calculators only need to know states of charge
_FROM = {
    "evaluation": ("Evaluation", "evaluate_potential"),
    "metrics": ("Errors",),
    "predictions": ("Prediction", "predict"),
    "report": ("figures", "to_dict", "write_predictions", "write_report"),
    "states": ("count_states", "unseen_states"),
    "tables": ("markdown", "rich_report"),
}
_LAZY = {name: module for module, names in _FROM.items() for name in names}
__all__ = sorted(_LAZY)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'eqff.evaluation' has no attribute '{name}'")
    return getattr(importlib.import_module(f"eqff.evaluation.{_LAZY[name]}"), name)
