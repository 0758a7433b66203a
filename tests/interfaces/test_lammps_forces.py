"""What LAMMPS is told in a callback, with a stand-in for it: order of atoms, units, what was asked for, failures."""

import numpy as np
import pytest
from ase import units
from ase.calculators.emt import EMT

from eqff.errors import ConfigError
from eqff.interfaces.lammps import attach
from eqff.testing.stack import charged_stack
from eqff.testing.structures import crystal, molecule


class StandIn:
    """The part of LAMMPS' Python module that is used, around the atoms of one process."""

    def __init__(self, atoms, style="real", **settings):
        self.atoms, self.symbols = atoms, sorted(set(atoms.get_chemical_symbols()))
        self.order = np.random.default_rng(0).permutation(len(atoms))
        self.settings = {"box_exist": 1, "dimension": 3, "q_flag": 1, "ntypes": len(self.symbols), "world_size": 1}
        self.settings |= settings
        self.globals = {"units": style, "vflag_global": 7, "eflag_atom": -1, "vflag_atom": -1}
        types = [self.symbols.index(atoms[k].symbol) + 1 for k in self.order]
        self.arrays = {"type": np.array(types), "q": np.zeros(len(atoms)), "mass": None}
        self.commands, self.told, self.errors, self.stopped = [], {}, [], False
        self.numpy, self.lib, self.lmp = self, self, None

    def extract_setting(self, name):
        return self.settings[name]

    def extract_global(self, name):
        return self.globals.get(name)

    def extract_atom(self, name):
        return self.arrays[name]

    def extract_box(self):
        low, (a, b, c) = [0.0, 0.0, 0.0], self.atoms.cell.array
        return low, [a[0] or 50.0, b[1] or 50.0, c[2] or 50.0], b[0], c[1], c[0], self.atoms.pbc.astype(int).tolist(), 0

    def get_mpi_comm(self):
        return None

    def command(self, line):
        self.commands.append(line)

    def set_fix_external_callback(self, fix, callback, caller):
        self.callback = callback

    def fix_external_set_energy_global(self, fix, energy):
        self.told["energy"] = energy

    def fix_external_set_virial_global(self, fix, virial):
        self.told["virial"] = np.array(virial)

    def fix_external_set_energy_peratom(self, fix, energies):
        self.told["energies"] = energies

    def force_timeout(self):
        self.stopped = True

    def lammps_fix_external_set_energy_global(self, _, fix, energy):
        self.errors.append(fix.decode())  # there is no such fix: an error of LAMMPS' library that names it

    def step(self, number=7):
        """Forces in the order of the atoms, whatever the order within LAMMPS."""
        forces = np.full((len(self.atoms), 3), 99.0)
        self.callback(None, number, len(forces), self.order + 1, self.atoms.positions[self.order], forces)
        return forces[np.argsort(self.order)]


def state(atoms):
    return {name: atoms.info[name] for name in ("total_charge", "multiplicity")}


def triangular(seed):
    """A crystal in LAMMPS' frame."""
    atoms = crystal(seed)
    atoms.set_cell([[3.6, 0, 0], [-0.6, 3.7, 0], [0.5, 0.4, 3.9]], scale_atoms=True)
    return atoms


@pytest.mark.parametrize(("style", "unit"), [("metal", 1.0), ("real", units.kcal / units.mol)])
def test_numbers_are_those_of_the_calculator(style, unit):
    atoms, potential = triangular(1), charged_stack()
    lmp = StandIn(atoms, style)
    attach(lmp, potential.calculator(**state(atoms)), lmp.symbols, write_charges=True)
    assert lmp.commands[0] == "fix eqff all external pf/callback 1 1" and "energy yes" in lmp.commands[1]
    forces = lmp.step()
    atoms.calc = potential.calculator()
    np.testing.assert_allclose(forces * unit, atoms.get_forces(), atol=1e-9)
    assert lmp.told["energy"] * unit == pytest.approx(atoms.get_potential_energy(), rel=1e-7)  # CODATA 2014 in ASE
    xx, yy, zz, yz, xz, xy = -atoms.get_stress() * atoms.get_volume()
    np.testing.assert_allclose(lmp.told["virial"] * unit, [xx, yy, zz, xy, xz, yz], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(lmp.arrays["q"][np.argsort(lmp.order)], atoms.get_charges(), atol=1e-12)
    assert "energies" not in lmp.told


def test_only_what_was_asked_for():
    atoms = molecule(2, 6)
    lmp = StandIn(atoms, vflag_global=3)
    attach(lmp, charged_stack().calculator(**state(atoms)), lmp.symbols)
    lmp.globals |= {"vflag_global": 5, "eflag_atom": 7}
    lmp.step(7)
    assert "virial" not in lmp.told and np.isnan(lmp.told["energies"]).all()
    lmp.globals["vflag_global"] = None  # of a version that can't tell
    lmp.step(8)
    assert "virial" in lmp.told


def test_any_calculator_of_ase():
    atoms = molecule(3, 5)
    lmp = StandIn(atoms)
    lmp.globals["vflag_global"] = 0
    attach(lmp, EMT(), lmp.symbols)
    forces = lmp.step()
    atoms.calc = EMT()
    np.testing.assert_allclose(forces * units.kcal / units.mol, atoms.get_forces(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kind", ["positions", "charges", "interrupted"])
def test_failures_end_the_run_and_leave_no_forces(kind, monkeypatch):
    atoms = molecule(2, 6)
    calculator = charged_stack().calculator(**state(atoms))
    lmp = StandIn(atoms)
    if kind == "charges":
        calculator.fields = ()
    if kind == "interrupted":
        monkeypatch.setattr(calculator, "calculate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    forces = attach(lmp, calculator, lmp.symbols, write_charges=True)
    if kind == "positions":
        atoms.positions[0, 0] = np.nan
    assert not lmp.step().any() and np.isnan(lmp.told["energy"])
    assert lmp.stopped and forces.failure is not None
    expected = {"positions": "not finite", "charges": "no charges", "interrupted": "KeyboardInterrupt"}[kind]
    assert expected in lmp.errors[0]
    atoms.positions[0, 0] = 0.0
    assert not lmp.step(8).any() and expected in lmp.errors[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"box_exist": 0}, "no box yet"),
        ({"dimension": 2}, "dimension 3"),
        ({"q_flag": 0}, "atom_style charge"),
        ({"world_size": 4}, "4 processes.*mpi4py"),
    ],
)
def test_settings_that_cant_work(settings, message):
    lmp = StandIn(molecule(2, 6), **settings)
    with pytest.raises(ConfigError, match=message):
        attach(lmp, charged_stack().calculator(), lmp.symbols, write_charges=True)
    assert not lmp.commands


def test_other_units_and_types_without_names():
    lmp = StandIn(molecule(2, 6), "lj")
    with pytest.raises(ConfigError, match="units lj"):
        attach(lmp, charged_stack().calculator(), lmp.symbols)
    lmp = StandIn(molecule(2, 6))
    with pytest.raises(ConfigError, match="atom types"):
        attach(lmp, charged_stack().calculator(), "HCNO")
    with pytest.raises(ConfigError, match="needs a calculator"):
        attach(lmp, None, lmp.symbols)
    lmp.order[:] = -1  # atom_modify id no
    forces = attach(lmp, charged_stack().calculator(total_charge=0, multiplicity="lowest"), lmp.symbols)
    lmp.step()
    assert "no IDs" in str(forces.failure)
