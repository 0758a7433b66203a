"""AMOEBA's multipoles and induced dipoles by OpenMM, asked line by line; tools/induction_beside.py starts it in an
environment that has OpenMM: python tools/openmm_induction.py SYSTEM.npz [PLATFORM]

SYSTEM has positions (N, 3) and cell (3, 3) in Å, charges in e, dipoles in e·Å, quadrupoles (Buckingham) in e·Å²,
polarizabilities in Å³, thole, and molecules (N,) within which nothing permanent interacts. Moments stay as they are in
space. A line of input is JSON with ``cutoff`` in Å, ``splitting`` in 1/Å, ``points`` of the mesh along each edge,
``epsilon`` of the dipoles (in debye) and ``repeat``; the answer is a line with energy in eV, the best CPU and wall
seconds, and the file of the forces in eV/Å.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import unit

NM, KJ = 0.1, 0.010364269656262175
"""nm of an Å, and eV of a kJ/mol."""


def context(system: dict[str, np.ndarray], settings: dict[str, Any], platform: str, threads: int) -> openmm.Context:
    """OpenMM's model of the system."""
    force = openmm.AmoebaMultipoleForce()
    force.setNonbondedMethod(openmm.AmoebaMultipoleForce.PME)
    force.setPolarizationType(openmm.AmoebaMultipoleForce.Mutual)
    force.setCutoffDistance(settings["cutoff"] * NM)
    points = settings["points"]
    force.setPMEParameters(settings["splitting"] / NM, points, points, points)
    force.setMutualInducedTargetEpsilon(settings["epsilon"])
    force.setMutualInducedMaxIterations(200)
    whole = openmm.System()
    whole.setDefaultPeriodicBoxVectors(*(openmm.Vec3(*row) for row in system["cell"] * NM))
    for index in range(len(system["charges"])):
        whole.addParticle(16.0)
        alpha = float(system["polarizabilities"][index]) * NM**3
        force.addMultipole(
            float(system["charges"][index]),
            [float(x) for x in system["dipoles"][index] * NM],
            [float(x) for x in system["quadrupoles"][index].ravel() * NM**2 / 3],
            openmm.AmoebaMultipoleForce.NoAxisType,
            *(-1, -1, -1),
            float(system["thole"]),
            alpha ** (1 / 6),
            alpha,
        )
    for molecule in np.unique(system["molecules"]):
        members = [int(i) for i in np.flatnonzero(system["molecules"] == molecule)]
        for index in members:
            others = [other for other in members if other != index]
            force.setCovalentMap(index, openmm.AmoebaMultipoleForce.Covalent12, others)
            force.setCovalentMap(index, openmm.AmoebaMultipoleForce.PolarizationCovalent11, members)
    whole.addForce(force)
    chosen = openmm.Platform.getPlatformByName(platform)
    properties = {"Threads": str(threads)} if "Threads" in chosen.getPropertyNames() else {}
    found = openmm.Context(whole, openmm.VerletIntegrator(0.001), chosen, properties)
    found.setPositions(system["positions"] * NM)
    return found


def evaluate(found: openmm.Context, positions: np.ndarray) -> tuple[float, np.ndarray]:
    """Energy in eV and forces in eV/Å; positions are set anew, so that nothing is taken from before."""
    found.setPositions(positions * NM)
    state = found.getState(getEnergy=True, getForces=True)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    return energy * KJ, np.asarray(forces) * KJ * NM


def main() -> None:
    """Answers until its input ends."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        raise SystemExit(__doc__)
    path, platform = Path(sys.argv[1]), (sys.argv[2] if len(sys.argv) > 2 else "Reference")
    system = {name: value for name, value in np.load(path).items()}
    out = path.with_suffix(".openmm.npy")
    last: tuple[str, openmm.Context] | None = None
    for line in sys.stdin:
        settings = json.loads(line)
        name = json.dumps({key: value for key, value in settings.items() if key != "repeat"})
        if last is None or last[0] != name:
            last = name, context(system, settings, platform, settings.get("threads", 1))
        cpu, wall = [], []
        for _ in range(settings.get("repeat", 1)):
            start = time.process_time(), time.perf_counter()
            energy, forces = evaluate(last[1], system["positions"])
            cpu.append(time.process_time() - start[0])
            wall.append(time.perf_counter() - start[1])
        np.save(out, forces)
        told = {"energy": energy, "cpu": min(cpu), "wall": min(wall), "forces": str(out)}
        print(json.dumps(told | {"version": openmm.__version__, "platform": platform}), flush=True)


if __name__ == "__main__":
    main()
