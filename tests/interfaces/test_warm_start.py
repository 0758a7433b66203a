"""Solves that begin at what the last steps predict: the same results in fewer iterations, and nothing else."""

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet

from eqff.heads.formal_charges import FormalCharges
from eqff.heads.polarizabilities import TabulatedPolarizabilities
from eqff.heads.tabulated_equilibration import TabulatedEquilibration
from eqff.potential import Potential
from eqff.simulation import SimulationSettings, resume_simulation, run_simulation
from eqff.terms.field_energy import FieldEnergy
from eqff.terms.induction import Induction
from eqff.terms.zbl import ZBLRepulsion
from eqff.uncertainty.ensemble import Ensemble

TOLERANCE, STEPS = 1e-7, 9
ELEMENTS = (1, 8)


def make(kind, tolerance=TOLERANCE):
    """Polarizable or equilibrated water, by conjugate gradients however small it is."""
    heads, terms = {}, {"zbl": ZBLRepulsion(0.5, 2.0, elements=ELEMENTS, neighbour_list="coulomb_5")}
    if kind == "induction":
        heads["charges"] = FormalCharges({"O": -0.8, "H": 0.4}, ELEMENTS)
        heads["polarizabilities"] = TabulatedPolarizabilities({"O": 0.837, "H": 0.496}, ELEMENTS)
        terms["induction"] = Induction(cutoff=5.0, accuracy=1e-4, tolerance=tolerance, dense_up_to=1)
    else:
        tables = {"O": 24.0, "H": 0.0}, {"O": 11.0, "H": 13.0}, {"O": 0.66, "H": 0.31}
        settings = {"cutoff": 5.0, "accuracy": 1e-4, "tolerance": tolerance, "dense_up_to": 1}
        heads["charges"] = TabulatedEquilibration(*tables, ELEMENTS, **settings)
        terms["equilibration"] = FieldEnergy("equilibration_energy")
    return Potential(None, terms, heads, elements=ELEMENTS).double().eval()


def water():
    """Eight molecules that move at 300 K."""
    rng = np.random.default_rng(3)
    molecule = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    turns = np.linalg.qr(rng.normal(size=(8, 3, 3)))[0]
    places = 3.2 * np.stack(np.meshgrid(*[np.arange(2)] * 3), axis=-1).reshape(8, 1, 3)
    atoms = Atoms("OHH" * 8, (places + molecule @ turns).reshape(-1, 3), cell=[6.4] * 3, pbc=True)
    atoms.info.update(total_charge=0, multiplicity=1)
    atoms.set_momenta(rng.normal(size=(24, 3)) * np.sqrt(units.kB * 300 * atoms.get_masses())[:, None])
    return atoms


def counted(monkeypatch):
    """Iterations of every solve that begins."""
    from eqff.longrange.conjugate_gradient import ConjugateGradient
    from eqff.longrange.transfer_iterations import TransferIterations

    found = []
    for kind in (ConjugateGradient, TransferIterations):

        def solve(self, *args, plain=kind.solve):
            result = plain(self, *args)
            found.append((result[1] if isinstance(result, tuple) else result.convergence).iterations)
            return result

        monkeypatch.setattr(kind, "solve", solve)
    return found


def moved(kind, warm_start, monkeypatch):
    """Forces along a trajectory, and iterations."""
    iterations, forces = counted(monkeypatch), []
    atoms = water()
    start, velocity = atoms.positions.copy(), atoms.get_velocities()
    atoms.calc = make(kind).calculator(warm_start=warm_start)
    for step in range(STEPS):  # the same geometries whatever the forces are
        atoms.positions = start + step * 0.5 * units.fs * velocity
        forces.append(atoms.get_forces())
    return np.array(forces), iterations


@pytest.mark.parametrize("kind", ["induction", "charges"])
def test_forces_agree_to_the_tolerance_in_fewer_iterations(kind, monkeypatch):
    with monkeypatch.context() as patch:
        cold, many = moved(kind, None, patch)
    with monkeypatch.context() as patch:
        warm, few = moved(kind, "fitted", patch)
    # the energy is stationary: forces are off by about as much as solutions, which differ by the tolerance times the
    # condition of the matrix
    assert np.abs(warm - cold).max() < 30 * TOLERANCE * np.abs(cold).max()
    assert not np.array_equal(warm, cold) and np.array_equal(warm[0], cold[0])
    assert sum(few[-4:]) <= 0.75 * sum(many[-4:])


@pytest.mark.parametrize("change", ["order", "field", "count"])
def test_a_change_of_the_structure_begins_at_nothing(change):
    atoms = water()
    atoms.calc = make("induction").calculator(warm_start="quadratic")
    for _ in range(3):
        atoms.positions[0, 0] += 0.01
        atoms.get_forces()
    if change == "order":
        atoms.positions[[1, 2]] = atoms.positions[[2, 1]]
    if change == "field":
        atoms.info["electric_field"] = [0.0, 0.0, 0.01]
    if change == "count":
        calculator, atoms = atoms.calc, atoms[:-3]
        atoms.calc = calculator
    before, forces = atoms.calc.solves.cold, atoms.get_forces()
    assert atoms.calc.solves.cold == before + 1
    alone = atoms.copy()
    alone.calc = make("induction").calculator()
    np.testing.assert_array_equal(forces, alone.get_forces())


def test_external_charges_may_move_as_atoms_do():
    """And come and go, as those of molecules around a region do."""
    atoms = water()
    atoms.pbc = False
    atoms.calc = make("charges").calculator(warm_start="last")
    for step in range(4):
        atoms.positions[0, 0] += 0.01
        count = 2 + step % 2
        places = [[-3.0 - 0.01 * step, 3.0 * k, -3.0] for k in range(count)]
        atoms.info.update(external_positions=np.array(places), external_charges=np.full(count, 0.4))
        forces = atoms.get_forces()
    assert atoms.calc.solves.warm == 3 * atoms.calc.solves.cold > 0  # every step but the first
    cold = make("charges").calculator().get_property("forces", atoms)
    np.testing.assert_allclose(forces, cold, atol=30 * TOLERANCE * np.abs(cold).max())


def test_a_repeated_calculation_is_the_same_to_the_bit():
    atoms = water()
    atoms.calc = make("induction").calculator(warm_start="fitted")
    for _ in range(4):
        atoms.positions[:, 1] += 0.01 * np.sin(np.arange(24))
        forces = atoms.get_forces()
    atoms.calc.results.clear()
    np.testing.assert_array_equal(forces, atoms.get_forces())


def test_members_of_an_ensemble_begin_with_their_own():
    ensemble = Ensemble([make("induction"), make("charges"), make("induction", 1e-9)])
    atoms, single = water(), water()
    atoms.calc = ensemble.calculator(warm_start="last")
    single.calc = make("induction", 1e-9).calculator(warm_start="last")
    for _ in range(3):
        for each in (atoms, single):
            each.positions[0, 0] += 0.01
            each.get_forces()
    (now,) = [step.found for step in [atoms.calc.solves._now]]
    (alone,) = single.calc.solves._now.found.values()
    assert torch.equal(now["The induction 2"], alone)


def test_training_has_no_history():
    from eqff.testing.graphs import graph_of

    model = make("charges")
    graph = graph_of([water(), water()], model.neighbour_lists, torch.float64)
    first, second = (model(graph, create_graph=True)["forces"] for _ in range(2))
    assert torch.equal(first, second) and graph.solves.state() is None


@pytest.mark.parametrize(("kind", "ensemble"), [("induction", "nve"), ("charges", "npt")])
def test_a_resumed_run_is_the_same_to_the_bit(kind, ensemble, tmp_path):
    model, common = make(kind), {"ensemble": ensemble, "structure": "", "velocities": "structure", "figures": False}
    common |= {"timestep": 0.25, "warm_start": "fitted", "trajectory_every": 2, "log_every": 1, "max_force": 1e4}
    common |= {"max_temperature": 1e6, "max_atom_energy": 1e3, "min_distance": 0.0}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run_simulation(model, water(), SimulationSettings(steps=7, **common), whole)
    run_simulation(model, water(), SimulationSettings(steps=5, **common), parts)
    resume_simulation(model, parts, {"steps": 7})
    assert (whole / "log.csv").read_bytes() == (parts / "log.csv").read_bytes()
    with np.load(whole / "state.npz") as one, np.load(parts / "state.npz") as other:
        assert one.files == other.files and any(name.startswith("solves_") for name in one.files)
        for name in one.files:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_energy_is_kept_as_well():
    def total(warm_start):
        atoms = water()
        atoms.calc = make("induction", 1e-8).calculator(warm_start=warm_start)
        dynamics, energies = VelocityVerlet(atoms, 0.1 * units.fs), []
        for _ in range(12):
            dynamics.run(1)
            energies.append(atoms.get_total_energy())
        return np.array(energies)

    cold, warm = total(None), total("fitted")
    # by how much the energy wanders for its time step is the same to a hundredth
    assert np.ptp(cold - warm) < 0.01 * np.ptp(cold) + 1e-9
