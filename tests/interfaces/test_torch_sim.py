"""torch-sim's own checks of models, and its integrators and optimizers, on a batch beside ASE's calculator."""

import inspect

import numpy as np
import pytest
import torch
from ase import units
from ase.md.verlet import VelocityVerlet

import eqff
from eqff.build import ModelContext, build_potential
from eqff.data.atoms import to_atoms
from eqff.data.reading import read_frames
from eqff.errors import ConfigError, DataError
from eqff.interfaces.torch_sim import EqffModel
from eqff.testing.stack import charged_stack
from eqff.testing.structures import crystal, molecule

ts = pytest.importorskip("torch_sim")


def state_of(structures, dtype=torch.float64):
    return ts.io.atoms_to_state(structures, torch.device("cpu"), dtype)


@pytest.mark.parametrize("kind", ["molecules", "crystals"])
def test_numbers_are_those_of_the_calculator(kind):
    potential = charged_stack()
    ions = [molecule(1), molecule(2, 4, total_charge=1), molecule(3, 9)]
    structures = {"molecules": ions, "crystals": [crystal(1), crystal(2)]}[kind]
    model = EqffModel(
        potential,
        total_charge=[atoms.info["total_charge"] for atoms in structures],
        multiplicity=torch.tensor([atoms.info["multiplicity"] for atoms in structures]),
        systems=structures,
    )
    found, place = model(state_of(structures)), 0
    for number, atoms in enumerate(structures):
        atoms.calc = potential.calculator()
        assert float(found["energy"][number]) == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(found["forces"][place : place + len(atoms)], atoms.get_forces(), atol=1e-9)
        np.testing.assert_allclose(found["charges"][place : place + len(atoms)], atoms.get_charges(), atol=1e-10)
        if atoms.pbc.all():
            np.testing.assert_allclose(found["stress"][number], atoms.get_stress(voigt=False), atol=1e-10)
        place += len(atoms)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_torch_sims_own_checks(dtype):
    from torch_sim.models.interface import validate_model_outputs

    config = {
        "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "cutoff": 4.0},
        "terms": {"local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4}},
    }
    elements = (1, 6, 12, 14, 26)  # those of the structures that it makes
    torch.manual_seed(0)
    potential = build_potential(config, ModelContext(elements, {number: -1.0 * number for number in elements}), dtype)
    model = EqffModel(potential, total_charge=0, multiplicity="lowest")
    validate_model_outputs(model, torch.device("cpu"), dtype)


def test_trajectories_are_those_of_ase():
    """Velocity Verlet of both, in float64: the same positions, but for the last digits of constants."""
    potential = eqff.load("eqff-ions").to(torch.float64)
    structures = ions()
    settings = dict(
        total_charge=[atoms.info["total_charge"] for atoms in structures],
        multiplicity=[atoms.info["multiplicity"] for atoms in structures],
        systems=structures,
    )
    state = state_of(structures)
    model = EqffModel(potential, **settings)
    step = 0.5  # fs
    state, update = verlet(model, state, step)
    momenta = torch.split(state.momenta, [len(atoms) for atoms in structures])
    for atoms, own in zip(structures, momenta, strict=True):
        atoms.calc = potential.calculator()
        atoms.set_momenta(own.numpy())
    energies = [total(state)]
    for _ in range(60):
        state = update(state)
        energies.append(total(state))
    positions = torch.split(state.positions, [len(atoms) for atoms in structures])
    for atoms, own in zip(structures, positions, strict=True):
        VelocityVerlet(atoms, step * units.fs).run(60)
        np.testing.assert_allclose(own, atoms.positions, atol=1e-6)
    sums, kinetic = (np.array([float(values[k].sum()) for values in energies]) for k in (0, 1))
    assert np.ptp(sums) < 0.1 * np.ptp(kinetic)
    assert model.batched.neighbours.searches <= 3 * 4


def verlet(model, state, step):
    """A state with momenta, and what moves it by a step in fs; torch-sim has changed how it says so."""
    dt, warm = torch.tensor(step * 1e-3 * ts.units.UnitSystem.metal.time), torch.tensor(0.025)  # eV
    if hasattr(ts, "nve_init"):
        state.rng = 1
        return ts.nve_init(state, model, kT=warm), lambda state: ts.nve_step(state, model, dt=dt)
    start, update = ts.nve(model=model, dt=dt, kT=warm, seed=1)
    return start(state), update


def ions():
    """Shipped structures of several molecules, charges and spins."""
    return [to_atoms(read_frames(f"shipped:ions/test.extxyz.gz@{40 * k}:{40 * k + 1}")[0]) for k in range(3)]


def total(state):
    kinetic = 0.5 * (state.momenta**2 / state.masses[:, None]).sum()
    return state.energy.sum() + kinetic, kinetic


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_relaxed_together(dtype):
    """Structures leave the batch as they converge and others come, each keeping its charge."""
    potential = eqff.load("eqff-ions")
    structures = ions()
    model = EqffModel(potential, systems=structures, dtype=dtype)
    converged = ts.generate_force_convergence_fn(force_tol=0.1, include_cell_forces=False)
    sizes = sorted(map(len, structures))
    few = ts.InFlightAutoBatcher(model=model, memory_scales_with="n_atoms", max_memory_scaler=sum(sizes[1:]) + 0.5)
    final = ts.optimize(
        state_of(structures, dtype),
        model,
        optimizer=ts.Optimizer.fire if hasattr(ts, "Optimizer") else ts.optimizers.fire,
        convergence_fn=converged,
        max_steps=900,
        autobatcher=few,
    )
    again = model(final)
    assert float(torch.linalg.vector_norm(again["forces"], dim=1).max()) < 0.1 + 1e-3
    fixed = EqffModel(
        potential,
        total_charge=[atoms.info["total_charge"] for atoms in structures],
        multiplicity=[atoms.info["multiplicity"] for atoms in structures],
        systems=structures,
        dtype=dtype,
    )
    torch.testing.assert_close(fixed(final)["energy"], again["energy"])


def test_without_a_state_it_is_refused():
    with pytest.raises(DataError, match="total charge is nowhere given"):
        EqffModel(charged_stack(), multiplicity=1)(state_of([molecule(1)]))
    with pytest.raises(ConfigError, match="needs the structures that it belongs to"):
        EqffModel(charged_stack(), total_charge=[0, 0], multiplicity="lowest")


def test_charges_among_what_states_have():
    if "system_extras_map" not in inspect.signature(ts.io.atoms_to_state).parameters:
        pytest.skip("states of this version have no extras")
    structures, potential = ions(), eqff.load("eqff-ions")
    names = {name: name for name in ("total_charge", "multiplicity")}
    state = ts.io.atoms_to_state(structures, torch.device("cpu"), torch.float32, system_extras_map=names)
    given = EqffModel(potential, systems=structures)
    torch.testing.assert_close(EqffModel(potential)(state)["energy"], given(state)["energy"])
    final = ts.integrate(
        state, EqffModel(potential), integrator=ts.Integrator.nve, n_steps=3, temperature=300, timestep=0.0005
    )
    torch.testing.assert_close(final.energy, given(final)["energy"])


def test_ensembles_say_how_far_they_agree():
    names, structures = ["eqff-ions", "eqff-ions-short"], ions()
    found = EqffModel(names, systems=structures)(state_of(structures, torch.float32))
    calculator = eqff.load(names).calculator()
    for number, atoms in enumerate(structures):
        atoms.calc = calculator
        assert float(found["energy"][number]) == pytest.approx(atoms.get_potential_energy(), abs=1e-4)  # float32
        assert float(found["energy_uncertainty"][number]) == pytest.approx(
            calculator.results["energy_uncertainty"], rel=0.01
        )
