"""What the cutoff of D3 leaves out, with and without the uniform tail: python tools/dispersion_cutoffs.py

For rock salt, graphite and water at its density, against 60 Å: energy per atom, largest force, pressure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ase import Atoms
from ase.build import bulk, graphene
from time_dispersion import water_box

from eqff.build import ModelContext, build_potential
from eqff.testing.graphs import graph_of

SETTINGS = [{"cutoff": cutoff, "tail": tail} for cutoff in (9.0, 12.0, 16.0, 20.0) for tail in (True, False)]
STEP = [{"cutoff": cutoff, "tail": False, "fade": 0.0} for cutoff in (16.0, 31.75)]
WHOLE = {"cutoff": 60.0, "fade": 30.0, "tail": True}
EV_PER_CUBIC_ANGSTROM = 160.2176634  # GPa


def main() -> None:
    """Prints a table for each structure."""
    torch.set_num_threads(1)
    for name, atoms in structures().items():
        atoms.info.update(total_charge=0, multiplicity=1)
        energy, forces, pressure = predicted(atoms, WHOLE)
        print(f"{name}: {energy / len(atoms):.4f} eV/atom, pressure {pressure:.3f} GPa")
        for settings in [*SETTINGS, *STEP]:
            found = predicted(atoms, settings)
            errors = (1000 * (found[0] - energy) / len(atoms), 1000 * (found[1] - forces).abs().max())
            print(f"  {settings}: {errors[0]:8.3f} meV/atom {errors[1]:8.4f} meV/Å {found[2] - pressure:8.4f} GPa")


def predicted(atoms: Atoms, settings: Mapping[str, Any]) -> tuple[float, torch.Tensor, float]:
    """Energy in eV, forces in eV/Å, pressure in GPa."""
    term = {"_target_": "eqff.terms.d3.D3", "functional": "pbe", "coordination_cutoff": 8.0, **settings}
    context = ModelContext(tuple(sorted(set(atoms.numbers.tolist()))), {})
    potential = build_potential({"terms": {"d3": term}}, context, torch.float64).eval()
    result = potential(graph_of([atoms], potential.neighbour_lists, torch.float64), stress=True)
    return float(result["energy"]), result["forces"], -float(result["stress"][0].trace()) / 3 * EV_PER_CUBIC_ANGSTROM


def structures() -> dict[str, Atoms]:
    """By name."""
    graphite = graphene(a=2.46, vacuum=3.35 / 2)
    graphite.pbc = True
    graphite = graphite.repeat((2, 2, 2))
    graphite.rattle(0.05, seed=1)
    salt = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    salt.rattle(0.05, seed=1)
    return {"rock salt": salt, "graphite (AA)": graphite, "water": water_box(27)}


if __name__ == "__main__":
    main()
