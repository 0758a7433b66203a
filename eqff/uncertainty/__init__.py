"""How far a model can be trusted: ensembles, last-layer estimates, and their calibration."""

from eqff.uncertainty.ensemble import Ensemble
from eqff.uncertainty.last_layer import LastLayerEstimate

__all__ = ["Ensemble", "LastLayerEstimate"]
