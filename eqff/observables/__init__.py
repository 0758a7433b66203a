"""What follows from predictions: of several states of one geometry, of one structure, along a trajectory."""

from eqff.observables.charge_states import Reactivity, labelled_reactivity, reactivity
from eqff.observables.potentials import electrostatic_potential
from eqff.observables.spectra import Spectrum, infrared, raman
from eqff.observables.tables import atom_table, markdown_table, reactivity_table, write_csv

__all__ = [
    "Reactivity",
    "Spectrum",
    "atom_table",
    "electrostatic_potential",
    "infrared",
    "labelled_reactivity",
    "markdown_table",
    "raman",
    "reactivity",
    "reactivity_table",
    "write_csv",
]
