"""What several predictions for one geometry say together."""

from eqff.observables.charge_states import Reactivity, labelled_reactivity, reactivity
from eqff.observables.tables import atom_table, markdown_table, reactivity_table, write_csv

__all__ = [
    "Reactivity",
    "atom_table",
    "labelled_reactivity",
    "markdown_table",
    "reactivity",
    "reactivity_table",
    "write_csv",
]
