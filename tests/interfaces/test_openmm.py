"""Models as forces of OpenMM, and regions of force fields: against the ASE calculator and OpenMM's own Coulomb sums."""

import numpy as np
import pytest
import torch

from eqff.build import ModelContext, build_potential
from eqff.errors import ConfigError, ModelError
from eqff.interfaces.openmm import mixed_system, model_force
from eqff.interfaces.openmm.package import KJ_PER_MOL
from eqff.interfaces.openmm.region import molecules_of
from eqff.testing.structures import crystal, molecule

openmm = pytest.importorskip("openmm", reason="OpenMM is not installed: pip install 'eqff[openmm]'")
app, unit = pytest.importorskip("openmm.app"), openmm.unit

ELEMENTS = (1, 6, 7, 8)
BACKBONE = {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 1, "cutoff": 3.0}
LOCAL = {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4}
ZBL = {"_target_": "eqff.terms.zbl.ZBLRepulsion", "inner": 0.4, "outer": 0.8}
SHORT = {"backbone": BACKBONE, "terms": {"local": LOCAL, "zbl": ZBL}}
QEQ = {
    "backbone": BACKBONE,
    "heads": {"charges": {"_target_": "eqff.heads.charge_equilibration.ChargeEquilibration", "hidden": 4}},
    "terms": {"local": LOCAL, "zbl": ZBL, "equilibration": {"_target_": "eqff.terms.field_energy.FieldEnergy"}},
}
TIP3P = {"O": -0.834, "H": 0.417, "C": 0.0, "N": 0.0}
FIXED = {
    "heads": {"charges": {"_target_": "eqff.heads.formal_charges.FormalCharges", "charges": TIP3P}},
    "terms": {"external": {"_target_": "eqff.terms.external_charges.ExternalChargeEnergy"}},
}
STATE = {"total_charge": 0, "multiplicity": 1}


def _potential(model):
    torch.manual_seed(0)
    return build_potential(model, ModelContext(ELEMENTS, dict.fromkeys(ELEMENTS, 0.0)), torch.float64).eval()


def _computed(system, positions, box=None):
    """Energy in eV and forces in eV/Å of a system at positions in Å."""
    context = openmm.Context(system, openmm.VerletIntegrator(1e-4), openmm.Platform.getPlatformByName("Reference"))
    if box is not None:
        context.setPeriodicBoxVectors(*(0.1 * np.asarray(box)))
    context.setPositions(0.1 * np.asarray(positions))
    state = context.getState(energy=True, forces=True)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.angstrom)
    return energy / KJ_PER_MOL, forces / KJ_PER_MOL


def _bare_system(atoms, box=None):
    system = openmm.System()
    for mass in atoms.get_masses():
        system.addParticle(mass)
    if box is not None:
        system.setDefaultPeriodicBoxVectors(*(0.1 * np.asarray(box)))
    return system


@pytest.mark.parametrize("kind", ["open", "periodic"])
def test_whole_systems_have_the_energy_and_forces_of_the_ase_calculator(kind):
    potential = _potential(QEQ)
    box = np.array([[9.0, 0, 0], [1.0, 8.0, 0], [-2.0, 0.5, 8.5]])
    atoms = crystal(1) if kind == "periodic" else molecule(1)
    if kind == "periodic":
        atoms.set_cell(box)
    system = _bare_system(atoms, box if kind == "periodic" else None)
    system.addForce(model_force(potential, atoms.numbers, periodic=kind == "periodic", **_state(atoms)))
    energy, forces = _computed(system, atoms.positions, box if kind == "periodic" else None)
    atoms.calc = potential.calculator()
    assert energy == pytest.approx(atoms.get_potential_energy(), rel=1e-11)
    np.testing.assert_allclose(forces, atoms.get_forces(), atol=1e-9)


def _state(atoms):
    return {name: atoms.info[name] for name in ("total_charge", "multiplicity")}


def test_some_atoms_of_a_system():
    first, second = molecule(1), molecule(2, 4)
    both = second + first
    chosen = list(range(len(second), len(both)))
    system = _bare_system(both)
    system.addForce(model_force(_potential(SHORT), both.numbers, atoms=chosen, **_state(first)))
    energy, forces = _computed(system, both.positions)
    first.calc = _potential(SHORT).calculator()
    assert energy == pytest.approx(first.get_potential_energy(), rel=1e-11)
    np.testing.assert_allclose(forces[chosen], first.get_forces(), atol=1e-9)
    assert not forces[: len(second)].any()


def test_energy_is_conserved():
    """Velocity Verlet, 300 steps of 0.1 fs: the total energy varies by a thousandth of what the kinetic one does."""
    atoms = molecule(1)
    system = _bare_system(atoms)
    system.addForce(model_force(_potential(QEQ), atoms.numbers, **_state(atoms)))
    total, kinetic = _trajectory(system, 0.1 * atoms.positions, 300, 1e-4)
    assert np.ptp(total) < 1e-3 * np.ptp(kinetic) and np.ptp(kinetic) > 0.03


def _trajectory(system, positions, steps, timestep, box=None):
    """Total and kinetic energies in eV."""
    integrator = openmm.CustomIntegrator(timestep)  # velocity Verlet, whose velocities are those of whole steps
    integrator.addPerDofVariable("x1", 0)
    integrator.addUpdateContextState()
    integrator.addComputePerDof("v", "v+0.5*dt*f/m")
    integrator.addComputePerDof("x", "x+dt*v")
    integrator.addComputePerDof("x1", "x")
    integrator.addConstrainPositions()
    integrator.addComputePerDof("v", "v+0.5*dt*f/m+(x-x1)/dt")
    integrator.addConstrainVelocities()
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    if box is not None:
        context.setPeriodicBoxVectors(*box)
    context.setPositions(positions)
    context.setVelocitiesToTemperature(300, 1)
    energies = []
    for _ in range(steps // 5):
        integrator.step(5)
        state = context.getState(energy=True)
        parts = state.getPotentialEnergy(), state.getKineticEnergy()
        energies.append([part.value_in_unit(unit.kilojoule_per_mole) / KJ_PER_MOL for part in parts])
    energies = np.array(energies)
    return energies.sum(axis=1), energies[:, 1]


def _waters(count, spacing=3.1, seed=0):
    """Topology and positions (Å) of waters on a grid, turned at random."""
    rng, topology = np.random.default_rng(seed), app.Topology()
    chain, positions, side = topology.addChain(), [], int(np.ceil(count ** (1 / 3)))
    grid = [(i, j, k) for i in range(side) for j in range(side) for k in range(side)][:count]
    base = np.array([[0.0, 0, 0], [0.9572, 0, 0], [-0.2400, 0.9266, 0]])
    for place in grid:
        residue = topology.addResidue("HOH", chain)
        atoms = [topology.addAtom(name, app.Element.getBySymbol(name[0]), residue) for name in ("O", "H1", "H2")]
        topology.addBond(atoms[0], atoms[1])
        topology.addBond(atoms[0], atoms[2])
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        positions.append(base @ turn.T + spacing * np.array(place))
    return topology, np.concatenate(positions)


def _force_field_system(topology, box=None, **settings):
    if box is not None:
        topology.setPeriodicBoxVectors(0.1 * np.asarray(box) * unit.nanometer)
        settings = {"nonbondedMethod": app.PME, "nonbondedCutoff": 0.55 * unit.nanometer, **settings}
    return app.ForceField("tip3p.xml").createSystem(topology, **settings)


REGION = [3, 4, 5]


@pytest.mark.parametrize("rigid", [True, False])
def test_a_region_with_a_force_fields_charges_is_that_force_field(rigid):
    """With TIP3P's charges in the place of a model: both embeddings give TIP3P without the region's own terms."""
    topology, positions = _waters(6)
    system = _force_field_system(topology, rigidWater=rigid)
    settings = {**STATE, "elements": topology, "atoms": REGION, "potential": _potential(FIXED)}
    by_model = mixed_system(system, coulomb="model", **settings)
    by_force_field = mixed_system(system, coulomb="force_field", **settings)
    one, other = (_computed(mixed, positions) for mixed in (by_model, by_force_field))
    # OpenMM has Coulomb's constant to eight digits; pairs of some eV cancel
    assert one[0] == pytest.approx(other[0], abs=5e-7)
    np.testing.assert_allclose(one[1], other[1], atol=1e-6)
    whole = _computed(system, positions)[0]
    alone = app.Topology()
    residue = alone.addResidue("HOH", alone.addChain())
    atoms = [alone.addAtom(n, app.Element.getBySymbol(n[0]), residue) for n in ("O", "H1", "H2")]
    alone.addBond(atoms[0], atoms[1])
    alone.addBond(atoms[0], atoms[2])
    own = _computed(_force_field_system(alone, rigidWater=rigid), positions[REGION])[0]
    assert other[0] == pytest.approx(whole - own, abs=1e-9)
    assert by_model.getNumConstraints() == (15 if rigid else 0)


BOX = np.diag([13.0, 13.0, 13.0])


def _polarised(box=BOX, count=64, **settings):
    topology, positions = _waters(count)
    settings = {"cutoff": 0.6, "fade": 0.2, **STATE, **settings} if box is not None else {**STATE, **settings}
    system = _force_field_system(topology, box, rigidWater=False)
    return mixed_system(system, topology, REGION, _potential(QEQ), coulomb="model", **settings), positions


@pytest.mark.parametrize("box", [None, BOX], ids=["open", "box"])
def test_forces_on_both_regions_are_minus_the_gradient(box):
    """The model's force alone, along directions that move the region, molecules around it, or all."""
    mixed, positions = _polarised(box, 27 if box is None else 64)
    for force in range(mixed.getNumForces() - 1):
        mixed.getForce(force).setForceGroup(1)
    context = openmm.Context(mixed, openmm.VerletIntegrator(1e-4), openmm.Platform.getPlatformByName("Reference"))

    def found(places):
        context.setPositions(0.1 * places)
        state = context.getState(energy=True, forces=True, groups={0})
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        return energy, state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.angstrom)

    forces, rng = found(positions)[1], np.random.default_rng(1)
    assert (np.abs(forces).max(axis=1) > 0).sum() > 10
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-8)
    inside = np.isin(np.arange(len(positions)), REGION)[:, None]
    for chosen in (inside, ~inside, True):
        along = rng.normal(size=positions.shape) * chosen
        ends = [found(positions + step * 1e-4 * along)[0] for step in (-2, -1, 1, 2)]
        slope = (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / 12e-4
        assert -(forces * along).sum() == pytest.approx(slope, rel=1e-6, abs=1e-5)


def test_energy_is_conserved_in_a_box():
    """200 steps of 0.1 fs with flexible water, molecules entering and leaving the cutoff."""
    mixed, positions = _polarised()
    total, kinetic = _trajectory(mixed, 0.1 * positions, 200, 1e-4, 0.1 * BOX)
    assert np.ptp(total) < 1e-3 * np.ptp(kinetic) and np.ptp(kinetic) > 0.03


def test_the_region_stays_a_molecule():
    """For barostats and for wrapping, though nothing of the force field holds it together."""
    mixed, positions = _polarised(None, 8)
    context = openmm.Context(mixed, openmm.VerletIntegrator(1e-4), openmm.Platform.getPlatformByName("Reference"))
    assert [list(molecule) for molecule in context.getMolecules()] == [[n, n + 1, n + 2] for n in range(0, 24, 3)]


def test_systems_can_be_saved_and_copied():
    mixed, positions = _polarised(None, 8)
    again = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(mixed))
    one, other = (_computed(system, positions) for system in (mixed, again))
    assert one[0] == other[0]
    np.testing.assert_array_equal(one[1], other[1])


def test_molecules_are_followed_along_bonds_and_constraints():
    system, bonds = openmm.System(), openmm.HarmonicBondForce()
    for _ in range(7):
        system.addParticle(1.0)
    for one, other in ((3, 0), (3, 5), (2, 4)):
        bonds.addBond(one, other, 0.1, 1.0)
    system.addForce(bonds)
    system.addConstraint(5, 1, 0.1)
    molecules, before = molecules_of(system)
    assert [np.flatnonzero(molecules == k).tolist() for k in range(3)] == [[0, 1, 3, 5], [2, 4], [6]]
    assert before.tolist() == [0, 5, 2, 0, 2, 3, 6]


def test_a_bond_to_the_rest_is_refused():
    topology, _ = _waters(4)
    system = _force_field_system(topology, rigidWater=False)
    for atoms in ([0], [0, 1], [3, 4, 5, 6]):
        with pytest.raises(ModelError, match="of which only some are in the region"):
            mixed_system(system, topology, atoms, _potential(SHORT), coulomb="force_field", **STATE)


def test_models_that_feel_no_external_charges_are_refused():
    topology, _ = _waters(2)
    system = _force_field_system(topology)
    with pytest.raises(ModelError, match="No part of this model feels external charges"):
        mixed_system(system, topology, [0, 1, 2], _potential(SHORT), coulomb="model", **STATE)


@pytest.mark.parametrize("particle", [1, 4])
def test_charges_that_follow_from_a_parameter_are_refused(particle):
    """In the region and around it: the model would see those without it."""
    topology, _ = _waters(2)
    system = _force_field_system(topology)
    force = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    force.addGlobalParameter("scale", 1.0)
    force.addParticleParameterOffset("scale", particle, 0.0, 0.0, 0.1)
    mixed_system(system, topology, [0, 1, 2], _potential(QEQ), coulomb="model", **STATE)
    force.addParticleParameterOffset("scale", particle, 0.1, 0.0, 0.0)
    with pytest.raises(ModelError, match=f"charge of particle {particle} follows from the parameter 'scale'"):
        mixed_system(system, topology, [0, 1, 2], _potential(QEQ), coulomb="model", **STATE)
    mixed_system(system, topology, [0, 1, 2], _potential(QEQ), coulomb="force_field", **STATE)


def test_errors_of_the_model_are_told_by_openmm():
    mixed, positions = _polarised(box=BOX, cutoff=0.7)
    with pytest.raises(Exception, match=r"half of its width, which is 6\.50 Å"):
        _computed(mixed, positions, BOX)


def test_virtual_sites_are_refused_in_the_region_alone():
    """TIP4P-Ew around a region is four charges' worth of three; in it, it is no molecule of atoms."""
    topology, positions = _waters(4)
    modeller = app.Modeller(topology, 0.1 * positions * unit.nanometer)
    modeller.addExtraParticles(app.ForceField("tip4pew.xml"))
    system = app.ForceField("tip4pew.xml").createSystem(modeller.topology)
    with pytest.raises(ModelError, match="no element|virtual site"):
        mixed_system(system, modeller.topology, [0, 1, 2, 3], _potential(SHORT), coulomb="force_field", **STATE)
    with pytest.raises(ModelError, match="virtual site of the region"):
        mixed_system(system, modeller.topology, [0, 1, 2], _potential(SHORT), coulomb="force_field", **STATE)


def test_forces_that_cannot_be_divided_are_refused():
    topology, _ = _waters(2)
    system = _force_field_system(topology)
    system.addForce(openmm.GBSAOBCForce())
    with pytest.raises(ModelError, match="GBSAOBCForce, which can't be divided"):
        mixed_system(system, topology, [0, 1, 2], _potential(SHORT), coulomb="force_field", **STATE)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"cutoff": None}, ConfigError, "need a cutoff"),
        ({"cutoff": 0.2, "fade": 0.3}, ConfigError, "not longer than the cutoff"),
        ({"coulomb": "fixed"}, ConfigError, "one of model, force_field"),
        ({"coulomb": "force_field"}, ConfigError, "cutoff belongs to coulomb=model"),
        ({"atoms": []}, ModelError, "at least one"),
        ({"atoms": [3, 4, 5, 999]}, ModelError, "counted from 0"),
    ],
)
def test_settings_that_make_no_sense(settings, error, message):
    topology, _ = _waters(64)
    system = _force_field_system(topology, BOX)
    given = {"coulomb": "model", "cutoff": 0.6, "atoms": REGION, "potential": None, **STATE, **settings}
    with pytest.raises(error, match=message):
        mixed_system(system, topology, **given)
