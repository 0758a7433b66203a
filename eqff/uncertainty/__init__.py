"""How far a model can be trusted: ensembles, last-layer estimates, and their calibration."""

from eqff.uncertainty.ensemble import Ensemble

__all__ = ["Ensemble"]
