"""eqff models in OpenMM: whole systems, and regions of systems whose rest is a force field (ML/MM)."""

from eqff.interfaces.openmm.force import model_force
from eqff.interfaces.openmm.mixed import mixed_system

__all__ = ["mixed_system", "model_force"]
