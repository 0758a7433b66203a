"""What stops a run, before and while it goes; each says which atom, and keeps the last good frame."""

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.io import read, write

from eqff.checkpoints import load_model
from eqff.errors import DataError, ModelError
from eqff.parts import Term
from eqff.potential import Potential
from eqff.simulation import SimulationSettings, read_structure, resume_simulation, run_simulation
from eqff.testing.structures import crystal, molecule


def settings(**changes):
    return SimulationSettings(**{"structure": "", "ensemble": "nve", "steps": 40, "figures": False, **changes})


class Pull(Term):
    """Two atoms drawn together without end, or numbers that end."""

    reads, writes, level = (), (), "structure"
    neighbour_lists = {"local": 6.0}

    def __init__(self, strength, ends=False):
        super().__init__()
        self.strength, self.ends = strength, ends

    def forward(self, graph, fields):
        energy = self.strength * graph.local.lengths.sum()[None]
        if self.ends:
            energy = energy + torch.sqrt(graph.local.lengths.min() - 1.2)[None]
        return {"energy": energy}


def pair():
    return Atoms("OH", [[0, 0, 0], [0, 0, 1.6]], info={"total_charge": -1, "multiplicity": 1})


def pulled(ends=False):
    return Potential(None, {"pull": Pull(2.0, ends)}, elements=(1, 8)).double()


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_force": 3.0}, r"the force on atom \d \([OH]\) is 4 eV/Å, above max_force=3"),
        ({"max_temperature": 500.0}, r"temperature is .* above 500 K \(atom 1 \(H\) has the most kinetic energy"),
        ({"max_atom_energy": 0.2}, r"atom 1 \(H\) has the most kinetic energy, 0\.3.* eV, above max_atom_energy=0.2"),
        ({"min_distance": 1.3}, r"atom \d \([OH]\) and atom \d \([OH]\) are 1\.2\d* Å apart"),
    ],
)
def test_limits(tmp_path, limits, message):
    high = {"max_force": 1e9, "max_temperature": 1e9, "max_atom_energy": 1e9, "min_distance": 0.0}
    result = run_simulation(pulled(), pair(), settings(temperature=0.0, **high | limits), tmp_path)
    assert not result.completed
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(result.message)
    if result.steps:
        assert f"Stopped at step {result.steps} " in result.message
        last = read(tmp_path / "last_good.extxyz")
        after = read(tmp_path / "trajectory.extxyz", index=-1)
        assert 0 < last.get_distance(0, 1) - after.get_distance(0, 1) < 0.1
        assert f"last good frame is {tmp_path / 'last_good.extxyz'}" in result.message


def test_numbers_that_end(tmp_path):
    result = run_simulation(pulled(ends=True), pair(), settings(temperature=0.0, max_temperature=1e9), tmp_path)
    assert not result.completed and "not finite" in result.message
    assert np.isfinite(read(tmp_path / "last_good.extxyz").get_momenta()).all()


def test_atoms_that_meet(tmp_path):
    """There are no forces where they lie on each other; the frame before is kept."""
    atoms = pair()
    atoms.set_velocities([[0, 0, 0], [0, 0, -1.6 / units.fs]])
    unlimited = {"max_temperature": 1e12, "max_atom_energy": 1e12, "min_distance": 0.0}
    chosen = settings(velocities="structure", timestep=1.0, **unlimited)
    result = run_simulation(Potential(None, {"pull": Pull(0.0)}, elements=(1, 8)).double(), atoms, chosen, tmp_path)
    assert not result.completed and "Stopped at step 1 (1 fs): structure: atoms 0 and 1" in result.message
    assert read(tmp_path / "last_good.extxyz").get_distance(0, 1) == pytest.approx(1.6)


def test_atoms_closer_than_in_training_stop_a_run(save, tmp_path):
    far = load_model(save(tmp_path / "m.safetensors", shortest_distance=8.0))
    result = run_simulation(far, crystal(1), settings(), tmp_path / "run")
    assert result.steps == 0 and "closer than min_distance=4" in result.message
    allowed = run_simulation(far, crystal(1), settings(steps=1, min_distance=0.0), tmp_path / "run")
    assert allowed.steps == 1


def test_states_that_training_had_not_are_refused_or_told(save, tmp_path):
    states = [{"total_charge": 0, "multiplicity": 1, "frames": 9}]
    model = load_model(save(tmp_path / "m.safetensors", states=states))
    cation = molecule(2, 6, total_charge=1)
    with pytest.raises(ModelError, match=r"not trained on .* \+1 .*allow_unseen_state=true"):
        run_simulation(model, cation, settings(steps=1), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    told = []
    chosen = settings(steps=1, allow_unseen_state=True, max_force=1e9, max_temperature=1e9)
    run_simulation(model, cation, chosen, tmp_path / "run", report=told.append)
    assert "not trained on any structure in the state +1" in told[0]


def test_elements_are_refused_before_anything_is_written(potential, tmp_path):
    salt = Atoms("NaCl", [[0, 0, 0], [0, 0, 2.4]], info={"total_charge": 0, "multiplicity": 1})
    with pytest.raises(ModelError, match=r"Na \(Z=11\), Cl \(Z=17\)"):
        run_simulation(potential, salt, settings(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_missing_state_names_the_settings_of_this_command(tmp_path):
    write(tmp_path / "w.xyz", Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]), format="extxyz")
    for given, message in (({}, "total charge is nowhere given"), ({"total_charge": 0}, "multiplicity .* nowhere")):
        with pytest.raises(DataError, match=message) as error:
            read_structure(settings(structure=f"{tmp_path}/w.xyz", **given))
        assert "total_charge=0 multiplicity=1" in str(error.value) and "data." not in str(error.value)


def test_files_without_atoms(tmp_path):
    write(tmp_path / "none.extxyz", Atoms())
    with pytest.raises(DataError):
        read_structure(settings(structure=f"{tmp_path}/none.extxyz", total_charge=0, multiplicity=1))


@pytest.mark.parametrize("name", ["run.extxyz", "run.traj", "run.pdb", "run.xsf"])
def test_trajectory_formats(potential, relaxed, tmp_path, name):
    chosen = settings(ensemble="nvt", steps=4, trajectory_every=2, trajectory=name)
    result = run_simulation(potential, relaxed, chosen, tmp_path)
    frames = read(result.files["trajectory"], index=":")
    assert len(frames) == 3 and not frames[-1].constraints
    np.testing.assert_allclose(frames[0].get_all_distances(), relaxed.get_all_distances(), atol=4e-3)  # pdb turns cells


def test_log_has_pressure_charges_and_distances(save, potential, tmp_path):
    result = run_simulation(potential, crystal(1), settings(steps=2, log_every=1), tmp_path)
    names = {"pressure_GPa", "volume_A3", "stress_xy_GPa", "min_distance_A", "max_force_eV_per_A", "energy_zbl_eV"}
    assert names <= set(result.log)
    assert "pressure_GPa" not in run_simulation(potential, molecule(1, 6), settings(steps=0), tmp_path / "m").log
    trace = sum(result.log[f"stress_{name}_GPa"] for name in ("xx", "yy", "zz"))
    np.testing.assert_allclose(result.log["pressure_GPa"], -trace / 3, atol=1e-8)


class Unsolvable(Pull):
    """Equations without a solution when two atoms are near, as of induced dipoles."""

    def forward(self, graph, fields):
        if graph.local.lengths.min() < 1.3:
            raise ModelError("The dipoles grow without end.")
        return super().forward(graph, fields)


def test_a_model_that_finds_no_solution_stops_a_run(tmp_path):
    model = Potential(None, {"pull": Unsolvable(2.0)}, elements=(1, 8)).double()
    result = run_simulation(model, pair(), settings(temperature=0.0, max_temperature=1e9, log_every=1), tmp_path)
    assert not result.completed and f"Stopped at step {result.steps} " in result.message
    assert "The dipoles grow without end." in result.message and len(result.log["step"]) == result.steps > 1
    assert 1.3 < read(result.files["last_good"]).get_distance(0, 1) < 1.4 and result.files["result"].is_file()


def test_a_resumed_run_that_does_not_stop_has_no_last_good_frame(tmp_path):
    high = {"max_force": 1e9, "max_atom_energy": 1e9, "min_distance": 0.0}
    stopped = run_simulation(pulled(), pair(), settings(temperature=0.0, max_temperature=50.0, **high), tmp_path)
    assert "last_good" in stopped.files
    result = resume_simulation(pulled(), tmp_path, {"max_temperature": 1e9, "steps": stopped.steps})
    assert result.completed and "last_good" not in result.files and not stopped.files["last_good"].exists()
