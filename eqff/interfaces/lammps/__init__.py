"""eqff models as forces of LAMMPS; the entry is `attach`."""

from eqff.interfaces.lammps.attach import attach

__all__ = ["attach"]
