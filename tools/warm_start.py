"""What warm starts of charges and induced dipoles save along a trajectory, and that energy is kept as without:

    python tools/warm_start.py --system induction --atoms 192 --steps 4000 --predictors none always_stable

A box of flexible water [SPC/Fw: Wu, Tepper & Voth, J. Chem. Phys. 124, 024503 (2006)] with AMOEBA's polarizabilities
and mutually induced dipoles (`induction`), or with equilibrated charges (`charges`), both by conjugate gradients. It
is brought to 300 K once; then every way of beginning goes through the same trajectory (velocity Verlet, NVE). Shown are
iterations and CPU milliseconds of a step, the drift and fluctuation of the total energy, and how far forces after 20
steps are from those of solves that began at nothing and went to 1e-12, relative to their RMS.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any, get_args

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from scaling_points import EQUILIBRATION, POLARIZABILITIES, water
from torch import Tensor

from eqff.data.graph import AtomicGraph
from eqff.data.solves import Predictor
from eqff.heads.formal_charges import FormalCharges
from eqff.heads.molecules import Molecules
from eqff.heads.polarizabilities import TabulatedPolarizabilities
from eqff.heads.tabulated_equilibration import TabulatedEquilibration
from eqff.longrange.conjugate_gradient import ConjugateGradient
from eqff.longrange.kernels import smooth_end
from eqff.longrange.transfer_iterations import TransferIterations
from eqff.nn.reduce import segment_sum
from eqff.parts import Fields, Term
from eqff.potential import Potential
from eqff.simulation.analysis import drift
from eqff.terms.field_energy import FieldEnergy
from eqff.terms.induction import Induction
from eqff.terms.multipoles import Multipoles

CHARGE, TIGHT = 0.35, 1e-12
"""e, of H in the polarizable box, and the tolerance that forces are compared to."""
STRETCH, BOND, BEND, ANGLE = 45.93, 1.012, 3.291, np.deg2rad(113.24)
"""eV/Å², Å, eV and radians of SPC/Fw."""
DEPTH, SIZE, REACH = 0.00674, 3.1655, 6.0
"""eV and Å of its Lennard-Jones potential between oxygens, and the Å where that is faded out from 5 on."""


class Springs(Term):
    """The molecules' own energy and Lennard-Jones between oxygens; molecules stand one after the other as O, H, H."""

    reads = ("numbers", "positions")
    neighbour_lists = {"oxygens": REACH}

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """Energies in eV, (N,)."""
        molecules = graph.positions.reshape(-1, 3, 3)
        arms = molecules[:, 1:] - molecules[:, :1]
        lengths = torch.linalg.vector_norm(arms, dim=2)
        angles = ((arms[:, 0] * arms[:, 1]).sum(dim=1) / lengths.prod(dim=1)).acos()
        own = 0.5 * STRETCH * (lengths - BOND).square().sum(dim=1) + 0.5 * BEND * (angles - ANGLE).square()
        edges = graph.edges["oxygens"]
        chosen = ((graph.numbers[edges.receiver] == 8) & (graph.numbers[edges.sender] == 8)).nonzero()[:, 0]
        lengths = edges.lengths[chosen]
        power = (SIZE / lengths) ** 6
        pairs = 2 * DEPTH * (power.square() - power) * smooth_end(lengths, REACH - 1, REACH)
        return {"energy": segment_sum(pairs, edges.receiver[chosen], graph.num_atoms) + own.repeat_interleave(3) / 3}


def induction(tolerance: float) -> Potential:
    """Fixed charges and induced dipoles."""
    elements = (1, 8)
    o, h, _ = POLARIZABILITIES
    heads = {
        "charges": FormalCharges({"O": -2 * CHARGE, "H": CHARGE}, elements),
        "polarizabilities": TabulatedPolarizabilities({"O": o, "H": h}, elements),
        "molecules": Molecules(elements, 1.3),
    }
    sums = {"cutoff": 6.0, "accuracy": 1e-5, "groups": "molecules"}
    terms = {
        "springs": Springs(),
        "multipoles": Multipoles(dipoles=None, quadrupoles=None, **sums),
        "induction": Induction(tolerance=tolerance, dense_up_to=1, **sums),
    }
    return Potential(None, terms, heads, elements=elements).double().eval()


def charges(tolerance: float) -> Potential:
    """Equilibrated charges."""
    tables = [dict(zip("OH", EQUILIBRATION[name], strict=False)) for name in ("chi", "hardness", "widths")]
    head = TabulatedEquilibration(*tables, (1, 8), cutoff=6.0, dense_up_to=1, tolerance=tolerance)
    terms = {"springs": Springs(), "equilibration": FieldEnergy("equilibration_energy")}
    return Potential(None, terms, {"charges": head}, elements=(1, 8)).double().eval()


SYSTEMS: dict[str, Callable[[float], Potential]] = {"induction": induction, "charges": charges}


class Iterations:
    """Counts the iterations of both solvers while it is open."""

    def __init__(self) -> None:
        self.count = 0
        self._plain = {kind: kind.solve for kind in (ConjugateGradient, TransferIterations)}

    def __enter__(self) -> Iterations:
        for kind, plain in self._plain.items():
            kind.solve = self._counted(plain)
        return self

    def __exit__(self, *error: object) -> None:
        for kind, plain in self._plain.items():
            kind.solve = plain

    def _counted(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        def solve(*args: Any, **kwargs: Any) -> Any:
            found = plain(*args, **kwargs)
            self.count += (found[1] if isinstance(found, tuple) else found.convergence).iterations
            return found

        return solve


def warmed(system: str, atoms: int, steps: int) -> Atoms:
    """The box at about 300 K."""
    box = water(atoms)
    box.calc = SYSTEMS[system](1e-5).calculator(warm_start="always_stable")
    rng = np.random.default_rng(0)
    thermalize_momenta(box, temperature_K=300, rng=rng)
    Langevin(box, 0.5 * units.fs, temperature_K=300, friction=0.05 / units.fs, rng=rng, fixcm=False).run(steps)
    return box


def trajectory(box: Atoms, system: str, predictor: str | None, tolerance: float, options: Any) -> dict[str, float]:
    """One way of beginning, from the same start."""
    atoms = box.copy()
    atoms.calc = SYSTEMS[system](tolerance).calculator(warm_start=predictor)
    dynamics = VelocityVerlet(atoms, options.timestep * units.fs)
    dynamics.run(20)
    forces, exact = atoms.get_forces(), atoms.copy()
    exact.calc = SYSTEMS[system](TIGHT).calculator()
    error = np.sqrt(np.square(forces - exact.get_forces()).mean() / np.square(forces).mean())
    cpu, energies = 0.0, []
    with Iterations() as iterations:
        for _ in range(options.steps):
            begun = time.process_time()
            dynamics.run(1)
            cpu += time.process_time() - begun
            energies.append(atoms.get_total_energy())
    found = drift(options.timestep * np.arange(options.steps), np.array(energies), len(atoms))
    return {
        "iterations": iterations.count / options.steps,
        "cpu": 1e3 * cpu / options.steps,
        "drift": found.slope,
        "error": found.error or float("nan"),
        "fluctuation": found.fluctuation,
        "forces": float(error),
        "kelvin": atoms.get_temperature(),
    }


def main() -> None:
    """Reads the command line and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", choices=list(SYSTEMS), default="induction")
    parser.add_argument("--atoms", type=int, default=192, help="3 k³")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--timestep", type=float, default=0.5, help="fs")
    parser.add_argument("--warm-up", type=int, default=400, help="steps at 300 K before")
    parser.add_argument("--tolerances", type=float, nargs="+", default=[1e-8])
    parser.add_argument(
        "--predictors", nargs="+", default=["none", *get_args(Predictor)], choices=["none", *get_args(Predictor)]
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    box = warmed(options.system, options.atoms, options.warm_up)
    print(
        "| begins with | tolerance | iterations | CPU of a step, ms | drift, meV/atom/ps | fluctuation, meV/atom |",
        end="",
    )
    print(" forces, relative | K |\n|---|---|---|---|---|---|---|---|")
    for tolerance in options.tolerances:
        for name in options.predictors:
            row = trajectory(box, options.system, None if name == "none" else name, tolerance, options)
            numbers = f"{row['iterations']:.1f} | {row['cpu']:.1f} | {row['drift']:.3f} ± {row['error']:.3f}"
            rest = f"{row['fluctuation']:.4f} | {row['forces']:.1e} | {row['kelvin']:.0f}"
            print(f"| {name} | {tolerance:.0e} | {numbers} | {rest} |", flush=True)


if __name__ == "__main__":
    main()
