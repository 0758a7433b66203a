"""Models in other programs (ASE, LAMMPS, OpenMM, torch-sim), and calculators of other programs as energies in eqff."""
