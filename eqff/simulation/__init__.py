"""Relaxation and molecular dynamics with a model, through ASE."""

from eqff.simulation.result import SimulationResult
from eqff.simulation.settings import SimulationSettings
from eqff.simulation.simulation import resume_simulation, run_simulation
from eqff.simulation.start import read_structure

__all__ = ["SimulationResult", "SimulationSettings", "read_structure", "resume_simulation", "run_simulation"]
