"""A run that is stopped anywhere and goes on leaves what it would have left anyway, to the bit."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from ase.io import read

from eqff.build import ModelContext, build_potential
from eqff.errors import ConfigError, ModelError
from eqff.simulation import SimulationSettings, loop, resume_simulation, run_simulation
from eqff.simulation.state import STATE_FILE
from eqff.testing.structures import divided, molecule

STEPS = 10
RUNS = {
    "nve": {"ensemble": "nve"},
    "langevin": {"ensemble": "nvt"},
    "bussi": {"ensemble": "nvt", "thermostat": "bussi", "fixed_atoms": (1,)},
    "nose_hoover": {"ensemble": "nvt", "thermostat": "nose_hoover"},
    "npt": {"ensemble": "npt", "pressure": 1.0, "barostat_time": 50.0, "trajectory": "trajectory.traj"},
    "npt_full": {"ensemble": "npt", "cell": "full", "barostat_time": 50.0, "trajectory": "trajectory.pdb"},
    "lbfgs": {"ensemble": "relax", "relax_fmax": 1e-4},
    "bfgs_cell": {"ensemble": "relax", "cell": "full", "optimizer": "bfgs", "relax_fmax": 1e-4, "pressure": 0.5},
    "fire_volume": {"ensemble": "relax", "cell": "isotropic", "optimizer": "fire", "relax_fmax": 1e-4},
}


class Killed(Exception):
    """Stands for a signal that no program can take."""


def chosen(name, **changes):
    common = {
        "structure": "",
        "steps": STEPS,
        "log_every": 2,
        "trajectory_every": 3,
        "relax_steps": 2,
        "figures": False,
    }
    return SimulationSettings(**common | RUNS[name] | changes)


def killed_at(step):
    count = [0]

    def progress(done):
        count[0] += done
        if count[0] == step:
            raise Killed

    return progress


def files(folder):
    """All that a run has written about its course."""
    with np.load(folder / STATE_FILE) as state:
        arrays = {name: state[name] for name in state.files if name != "about"}
        about = json.loads(str(state["about"]))
    trajectory = next(folder.glob("trajectory.*"))
    return arrays, about, (folder / "log.csv").read_bytes(), trajectory


def assert_same(one, other):
    arrays, about, log, trajectory = files(one)
    arrays2, about2, log2, trajectory2 = files(other)
    assert about == about2 and log == log2 and arrays.keys() == arrays2.keys()
    for name in arrays:
        np.testing.assert_array_equal(arrays[name], arrays2[name], err_msg=name)
    first, second = read(trajectory, index=":"), read(trajectory2, index=":")
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
        np.testing.assert_array_equal(a.cell.array, b.cell.array)
        np.testing.assert_array_equal(a.get_momenta(), b.get_momenta())


AT_EACH_STEP, AT_THE_START = 0.0, 1e9


@pytest.mark.parametrize(
    ("name", "save_every"),
    [*((name, AT_EACH_STEP) for name in RUNS), ("langevin", AT_THE_START), ("npt", AT_THE_START)],
)
def test_killed_and_resumed_is_the_same_to_the_bit(potential, relaxed, tmp_path, name, save_every):
    run_simulation(potential, relaxed, chosen(name), tmp_path / "whole")
    with pytest.raises(Killed):
        run_simulation(potential, relaxed, chosen(name, save_every=save_every), tmp_path / "cut", progress=killed_at(7))
    resume_simulation(potential, tmp_path / "cut")
    assert_same(tmp_path / "whole", tmp_path / "cut")


def test_killed_several_times(potential, relaxed, tmp_path):
    run_simulation(potential, relaxed, chosen("npt"), tmp_path / "whole")
    with pytest.raises(Killed):
        run_simulation(potential, relaxed, chosen("npt", save_every=0.0), tmp_path / "cut", progress=killed_at(2))
    for step in (1, 3, 2):
        with pytest.raises(Killed):
            resume_simulation(potential, tmp_path / "cut", progress=killed_at(step))
    resume_simulation(potential, tmp_path / "cut")
    assert_same(tmp_path / "whole", tmp_path / "cut")


def test_fragments_stay_what_they_were(tmp_path):
    pairs = {"_target_": "eqff.terms.fragment_pairs.FragmentPairs", "cutoff": 5.0, "degree": 0, "hidden": 4}
    config = {"fragments": {"_target_": "eqff.fragments.fragments.Fragments"}, "terms": {"pairs": pairs}}
    config["backbone"] = {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 1}
    torch.manual_seed(0)
    potential = build_potential(config, ModelContext((1, 6, 7, 8), dict.fromkeys((1, 6, 7, 8), 0.0)), torch.float64)
    atoms = divided(molecule(1, 6, total_charge=1))
    run_simulation(potential, atoms, chosen("nve", steps=STEPS), tmp_path / "whole")
    with pytest.raises(Killed):
        run_simulation(potential, atoms, chosen("nve"), tmp_path / "killed", progress=killed_at(5))
    resume_simulation(potential, tmp_path / "killed")
    assert_same(tmp_path / "killed", tmp_path / "whole")


def test_more_steps_go_on_where_it_ended(potential, relaxed, tmp_path):
    run_simulation(potential, relaxed, chosen("langevin"), tmp_path / "whole")
    run_simulation(potential, relaxed, chosen("langevin", steps=4), tmp_path / "cut")
    result = resume_simulation(potential, tmp_path / "cut", {"steps": STEPS})
    assert result.completed and result.steps == STEPS
    assert_same(tmp_path / "whole", tmp_path / "cut")


def test_half_written_rows_and_frames_are_cut_away(potential, relaxed, tmp_path):
    run_simulation(potential, relaxed, chosen("nve"), tmp_path / "whole")
    run_simulation(potential, relaxed, chosen("nve", steps=5), tmp_path / "cut")
    for name in ("log.csv", "trajectory.extxyz"):
        with (tmp_path / "cut" / name).open("a") as file:
            file.write("6,3.0,-12")
    resume_simulation(potential, tmp_path / "cut", {"steps": STEPS})
    assert_same(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_between_steps_and_saves(potential, relaxed, tmp_path, number):
    run_simulation(potential, relaxed, chosen("nose_hoover"), tmp_path / "whole")

    def progress(done):
        if not progress.sent:
            progress.sent = True
            os.kill(os.getpid(), number)

    progress.sent = False
    before = signal.getsignal(number)
    result = run_simulation(potential, relaxed, chosen("nose_hoover"), tmp_path / "cut", progress=progress)
    assert signal.getsignal(number) == before
    assert result.interrupted and not result.completed and result.steps < STEPS
    assert f"Stopped by {signal.Signals(number).name} after step" in result.message
    assert f"resume={tmp_path / 'cut'}" in result.message
    resume_simulation(potential, tmp_path / "cut")
    assert_same(tmp_path / "whole", tmp_path / "cut")


def test_what_can_not_be_resumed(potential, make_potential, relaxed, tmp_path):
    with pytest.raises(ModelError, match="can't be resumed"):
        resume_simulation(potential, tmp_path / "nowhere")
    run_simulation(potential, relaxed, chosen("nve", steps=4), tmp_path / "run")
    with pytest.raises(ModelError, match="other weights"):
        resume_simulation(make_potential(1), tmp_path / "run")
    with pytest.raises(ConfigError, match="steps is -1"):
        resume_simulation(potential, tmp_path / "run", {"steps": -1})
    with pytest.raises(ConfigError, match="'temperature' can't be changed on resume"):
        resume_simulation(potential, tmp_path / "run", {"temperature": 10.0})
    log = tmp_path / "run" / "log.csv"
    log.write_bytes(log.read_bytes()[:-5])
    with pytest.raises(ModelError, match=r"log.csv holds .* bytes, but held"):
        resume_simulation(potential, tmp_path / "run", {"steps": 6})
    (tmp_path / "run" / STATE_FILE).write_bytes(b"PK nothing")
    with pytest.raises(ModelError, match="damaged"):
        resume_simulation(potential, tmp_path / "run")


def test_a_new_run_in_an_old_folder_leaves_nothing_of_the_old_to_go_on_from(potential, relaxed, tmp_path, monkeypatch):
    run_simulation(potential, relaxed, chosen("nve"), tmp_path)

    def killed(*_, **__):
        raise Killed

    monkeypatch.setattr(loop, "save_state", killed)
    with pytest.raises(Killed):
        run_simulation(potential, relaxed, chosen("nve", seed=1), tmp_path)
    with pytest.raises(ModelError, match="there is no .*state.npz"):
        resume_simulation(potential, tmp_path)


@pytest.mark.slow
def test_kill_9_at_random_moments_of_the_command(save, tmp_path):
    """The command in a process of its own, killed so that nothing can be cleaned up."""
    atoms = molecule(1, 6)
    atoms.write(tmp_path / "start.extxyz")
    model = save(tmp_path / "m.safetensors")
    command = [sys.executable, "-m", "eqff.simulate"]
    arguments = [f"model={model}", f"structure={tmp_path}/start.extxyz", "steps=3000", "log_every=5", "save_every=0.05"]
    arguments += ["device=cpu", "trajectory_every=7", "max_force=1e6", "max_temperature=1e6", "trajectory=t.traj"]

    def start(*more):
        return subprocess.Popen([*command, *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    assert start(*arguments, f"output={tmp_path}/whole").wait() == 0
    rng, cut = np.random.default_rng(0), tmp_path / "cut"
    process = start(*arguments, f"output={cut}")
    for _ in range(5):
        while process.poll() is None and not (cut / STATE_FILE).exists():
            time.sleep(0.05)
        time.sleep(rng.uniform(0.0, 5.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process = start(f"resume={cut}")
    assert process.wait() == 0
    assert (cut / "log.csv").read_bytes() == (tmp_path / "whole" / "log.csv").read_bytes()
    frames = [read(tmp_path / name / "t.traj", index=":") for name in ("whole", "cut")]
    assert len(frames[0]) == len(frames[1])
    for a, b in zip(*frames, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
