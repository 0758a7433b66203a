"""Active learning: which structures are worth a label, and the loop that labels them and trains on."""

from eqff.active.candidates import Candidates
from eqff.active.selecting import Selection, select
from eqff.active.strategies import STRATEGIES

__all__ = ["STRATEGIES", "Candidates", "Selection", "select"]
