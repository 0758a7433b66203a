"""Molecular dynamics with a model, through ASE."""

from eqff.simulation.settings import SimulationSettings
from eqff.simulation.simulation import SimulationResult, read_structure, run_simulation

__all__ = ["SimulationResult", "SimulationSettings", "read_structure", "run_simulation"]
