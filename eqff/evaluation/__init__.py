"""How good a model is: predictions compared with labels, in units that people use."""

from eqff.evaluation.evaluation import Evaluation, evaluate_potential
from eqff.evaluation.metrics import Errors
from eqff.evaluation.predictions import Prediction, predict
from eqff.evaluation.report import figures, markdown, rich_report, to_dict, write_predictions, write_report
from eqff.evaluation.states import count_states, unseen_states

__all__ = [
    "Errors",
    "Evaluation",
    "Prediction",
    "count_states",
    "evaluate_potential",
    "figures",
    "markdown",
    "predict",
    "rich_report",
    "to_dict",
    "unseen_states",
    "write_predictions",
    "write_report",
]
