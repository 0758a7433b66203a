"""Runs compared: read from wherever they are, put side by side, written as tables, page and figures.

from eqff.comparison import Comparison, read_runs, write_comparison

found = read_runs("runs/charge_schemes")
comparison = Comparison(found.runs, by=["data"], problems=found.problems)
write_comparison(comparison, "comparisons/charge_schemes")
"""

from eqff.comparison.comparability import Difference, differences
from eqff.comparison.comparison import Comparison, Group
from eqff.comparison.rows import Row, Spread
from eqff.comparison.run import Run, State
from eqff.comparison.sources import Runs, read_runs
from eqff.comparison.tables import Cell, Table
from eqff.comparison.writing import write_comparison
from eqff.tracking.costs import Cost

__all__ = [
    "Cell",
    "Comparison",
    "Cost",
    "Difference",
    "Group",
    "Row",
    "Run",
    "Runs",
    "Spread",
    "State",
    "Table",
    "differences",
    "read_runs",
    "write_comparison",
]
