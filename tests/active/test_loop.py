"""The loop: rounds add up, a kill anywhere changes nothing, a labeller that dies loses nothing."""

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.io import read

from eqff import simulate
from eqff.active import loop as loop_module
from eqff.active.candidates import identity
from eqff.active.command import main
from eqff.active.jobs import Launch
from eqff.active.labelling import LABELLER as LABELLER_JOB
from eqff.active.labelling import by_command, checked_labels, write_frames
from eqff.active.loop import ActiveLoop
from eqff.active.settings import ActiveSettings
from eqff.data.reading import read_frames
from eqff.errors import ConfigError, DataError
from eqff.locking import locked
from eqff.sweeps.launchers import Ending
from eqff.testing.structures import molecule

# needs nothing but Python, whose start takes a fiftieth of that of ase
LABELLER = """
import sys
lines, frames = open(sys.argv[1]).read().splitlines(), []
while lines:
    count = int(lines[0])
    head = lines[1].replace("pos:R:3", "pos:R:3:forces:R:3") + " energy=-1.0"
    frames.append([lines[0], head, *(line + " 0.0 0.0 0.0" for line in lines[2 : count + 2])])
    del lines[: count + 2]
with open(sys.argv[2], "w") as file:
    file.writelines(line + chr(10) for frame in frames[int(sys.argv[3]) :] for line in frame)
print("something went wrong in the middle", file=sys.stderr)
sys.exit(int(sys.argv[4]))
"""


@pytest.fixture
def files(shaken, tmp_path):
    pool, held_back = [*shaken(1, 15), *shaken(2, 10)], shaken(1, 6, size=0.05)
    return {
        "pool": str(write_frames(tmp_path / "pool.extxyz", pool)),
        "held_back": str(write_frames(tmp_path / "held_back.extxyz", held_back)),
        "output": str(tmp_path / "loop"),
    }


def settings(files, **changes):
    return ActiveSettings(**files | {"first": 6, "count": 4, "rounds": 3, "samples": 4} | changes)


def labeller(tmp_path, dropped=0, code=0):
    script = tmp_path / "labeller.py"
    script.write_text(LABELLER)
    return f"{shlex.quote(sys.executable)} -S {shlex.quote(str(script))} {{input}} {{output}} {dropped} {code}"


def training_sets(output, rounds):
    names = [f"{output}/round_{k:02d}/train.extxyz" for k in range(rounds)]
    return [[identity(frame) for frame in read_frames(name)] for name in names]


@pytest.mark.parametrize("committee", [1, 3])
def test_every_round_adds_new_structures_with_their_labels(files, pretended, committee):
    rows = ActiveLoop(settings(files, committee=committee)).run()
    assert [row["labels"] for row in rows] == [6, 10, 14]
    sets = training_sets(files["output"], 3)
    for smaller, larger in zip(sets, sets[1:], strict=False):
        assert larger[: len(smaller)] == smaller and len(set(larger)) == len(larger)
    pool = {identity(frame): frame for frame in read_frames(files["pool"])}
    for frame in read_frames(f"{files['output']}/round_02/train.extxyz"):
        assert float(frame.energy) == pytest.approx(float(pool[identity(frame)].energy), abs=1e-6)
    assert len(pretended) == 3 * committee
    assert rows[1]["uncertainty_eV_per_A"]["pool_largest"] >= rows[1]["uncertainty_eV_per_A"]["pool_mean"] > 0


def test_from_scratch_or_from_the_last(files, pretended, tmp_path):
    ActiveLoop(settings(files, rounds=2, train=("trainer.max_steps=5",))).run()
    assert not [word for command in pretended for word in command if "finetune" in word]
    assert all("trainer.max_steps=5" in command for command in pretended)
    other = settings(files | {"output": str(tmp_path / "last")}, rounds=2, begin="last")
    ActiveLoop(other).run()
    assert not any("finetune" in word for word in pretended[2])
    assert f"finetune.model='{tmp_path}/last/round_00/model_0'" in pretended[3]


STEPS = ("write_json", "write_selection", "write_frames", "train_round", "checked_labels", "model_of_round")


class Killed(BaseException):
    """Stands for a kill."""


@pytest.mark.parametrize(("name", "before"), [(name, number % 2 == 0) for number, name in enumerate(STEPS)])
def test_a_kill_anywhere_changes_nothing(files, pretended, tmp_path, monkeypatch, name, before):
    whole = settings(files | {"output": str(tmp_path / "whole")}, rounds=2)
    ActiveLoop(whole).run()
    chosen, original, calls = settings(files, rounds=2), getattr(loop_module, name), [0]

    def killed(*arguments, **more):
        calls[0] += 1
        if calls[0] == at and before:
            raise Killed
        result = original(*arguments, **more)
        if calls[0] == at:
            raise Killed
        return result

    at = 1 if name == "model_of_round" else 2  # of the second round: the first one has no model to choose by
    monkeypatch.setattr(loop_module, name, killed)
    with pytest.raises(Killed):
        ActiveLoop(chosen).run()
    rows = ActiveLoop(chosen).run()
    assert training_sets(chosen.output, 2) == training_sets(whole.output, 2)
    assert [row["labels"] for row in rows] == [6, 10]


def test_finished_rounds_are_not_made_again_and_more_can_follow(files, pretended):
    ActiveLoop(settings(files, rounds=2)).run()
    rows = ActiveLoop(settings(files, rounds=3)).run()
    assert len(rows) == len(pretended) == 3


def test_other_settings_are_refused_with_all_that_differs(files, pretended):
    ActiveLoop(settings(files, rounds=2)).run()
    with pytest.raises(ConfigError) as caught:
        ActiveLoop(settings(files, count=5, seed=3, train=("trainer.max_steps=5",), launch={"workers": 2})).run()
    text = str(caught.value)
    assert "  count: 4 there, 5 now\n" in text and "  seed: 0 there, 3 now" in text and "max_steps=5'] now" in text
    assert "launch" not in text.partition("Give those")[0]
    assert f"initial={files['output']}/round_01/train.extxyz" in text  # labels are not lost


def test_what_nothing_was_made_with_yet_may_change(files, pretended, tmp_path):
    """A labeller that can't work is replaced; later rounds are not begun."""
    with pytest.raises(DataError, match="can't be run"):
        ActiveLoop(settings(files, label="no_such_program {input} {output}")).run()
    mended, lines = settings(files, label=labeller(tmp_path), count=3, train=("trainer.max_steps=5",)), []
    rows = ActiveLoop(mended, lines.append).run()
    assert [row["labels"] for row in rows] == [6, 9, 12] and "trainer.max_steps=5" in pretended[0]
    assert {line.split(":")[0] for line in lines if "from now on" in line} == {"label", "count", "train"}
    with pytest.raises(ConfigError, match="  label: "):
        ActiveLoop(settings(files, label="other {input} {output}")).run()
    assert len(ActiveLoop(mended).run()) == 3  # what was changed is kept


def test_a_loop_of_an_earlier_version_goes_on(files, pretended, tmp_path):
    ActiveLoop(settings(files, rounds=1)).run()
    path = tmp_path / "loop" / "active.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in stored.items() if k not in ("samples", "clusters", "structures")}))
    with pytest.raises(ConfigError, match="seed"):
        ActiveLoop(settings(files, seed=1)).run()
    assert len(ActiveLoop(settings(files, rounds=2, samples=4)).run()) == 2


def test_files_that_change_under_their_name(files, pretended, shaken):
    ActiveLoop(settings(files, rounds=1)).run()
    lines = []
    write_frames(Path(files["pool"]), [*read_frames(files["pool"]), *shaken(3, 5)])
    ActiveLoop(settings(files, rounds=2), lines.append).run()
    assert "pool: it has other structures than before (30 now); what was chosen from it stays" in lines
    write_frames(Path(files["held_back"]), shaken(1, 5, size=0.05))
    with pytest.raises(ConfigError, match="held_back: the file has other structures or labels"):
        ActiveLoop(settings(files, rounds=3)).run()


def test_held_back_structures_are_never_chosen(files, pretended, shaken, tmp_path):
    leaking = [*read_frames(files["pool"]), *read_frames(files["held_back"])]
    files["pool"] = str(write_frames(tmp_path / "leaking.extxyz", leaking))
    lines = []
    ActiveLoop(settings(files, count=30, rounds=2), lines.append).run()
    held = {identity(frame) for frame in read_frames(files["held_back"])}
    assert not held & set(training_sets(files["output"], 2)[1])
    assert any(line.startswith("6 structures of the pool are copies or held back") for line in lines)


def test_labels_by_a_command(files, pretended, tmp_path):
    lines = []
    ActiveLoop(settings(files, label=labeller(tmp_path, dropped=1)), lines.append).run()
    assert [len(found) for found in training_sets(files["output"], 3)] == [5, 8, 11]
    assert "Round 1: 1 of 4 structures got no label; going on without" in lines
    # what has got no label is not sent again and again
    sent = [a.positions.sum() for k in range(3) for a in read(f"{files['output']}/round_{k:02d}/chosen.extxyz", ":")]
    assert len(np.unique(np.round(sent, 6))) == 14


def test_a_labeller_that_dies_loses_nothing(files, pretended, tmp_path):
    bad = settings(files, label=labeller(tmp_path, code=3))
    with pytest.raises(DataError) as caught:
        ActiveLoop(bad).run()
    text = str(caught.value)
    assert "'labeller' failed: ended with exit code 3" in text and "something went wrong in the middle" in text
    assert "Nothing is lost: the same command goes on" in text
    folder = tmp_path / "loop" / "round_00"
    assert (folder / "chosen.extxyz").is_file() and not (folder / "labelled.extxyz").exists() and not pretended
    before = (folder / "chosen.extxyz").read_bytes()
    (tmp_path / "labeller.py").write_text(LABELLER.replace("sys.exit(int(sys.argv[4]))", ""))
    ActiveLoop(bad).run()
    assert (folder / "chosen.extxyz").read_bytes() == before and len(pretended) == 3


@pytest.mark.parametrize(("known_after", "labelled"), [(1, True), (2, True), (9, False)])
def test_a_labeller_whose_end_is_not_known_is_run_again(monkeypatch, tmp_path, known_after, labelled):
    """What it has written by then may be half of it."""
    calls = []

    def run_jobs(jobs, launch, folder, error):
        calls.append(jobs[0].command)
        known = len(calls) >= known_after
        (tmp_path / "new_b.extxyz").write_text("whole" if known else "half")
        return {} if known else {LABELLER_JOB: Ending(None, tmp_path / "log", "was killed by somebody")}

    monkeypatch.setattr("eqff.active.labelling.run_jobs", run_jobs)
    label = by_command("label {input} {output} '--options={\"x\": 1}'", Launch())
    if labelled:
        label(tmp_path / "a.extxyz", tmp_path / "b.extxyz")
        assert (tmp_path / "b.extxyz").read_text() == "whole" and len(calls) == known_after
    else:
        with pytest.raises(DataError, match="not known whether the labeller has done its work: was killed by somebody"):
            label(tmp_path / "a.extxyz", tmp_path / "b.extxyz")
        assert not (tmp_path / "b.extxyz").exists()
    expected = ("label", f"{tmp_path}/a.extxyz", f"{tmp_path}/new_b.extxyz", '--options={"x": 1}')
    assert set(calls) == {expected}  # other braces stay


def test_a_wrong_setting_of_trainings_is_told_before_anything_is_labelled(files, pretended, tmp_path):
    with pytest.raises(ConfigError, match="model.backbone.chanels"):
        ActiveLoop(settings(files, train=("model=minimal", "model.backbone.chanels=8"))).run()
    assert not (tmp_path / "loop" / "round_00").exists()


def test_as_a_command(files, pretended, monkeypatch, capsys):
    """Settings of trainings are composed while Hydra has this command's own."""
    argv = [*(f"{name}={path}" for name, path in files.items()), "rounds=2", "first=6", "count=4", "samples=4"]
    monkeypatch.setattr(sys, "argv", ["eqff-active", *argv, 'train=["model=minimal","trainer.max_steps=5"]'])
    main()
    assert all("trainer.max_steps=5" in command for command in pretended) and len(pretended) == 2
    shown = capsys.readouterr()
    assert "Round 1: training on 10 structures" in shown.err and "course.csv" in shown.out
    monkeypatch.setattr(sys, "argv", ["eqff-active", *argv, 'train=["model=minimal","trainer.max_stepz=5"]'])
    with pytest.raises(SystemExit):
        main()
    assert "max_stepz" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("no_such_program {input} {output}", "'no_such_program' can't be run"),
        ("true {input} {output}", "said that all went well, but"),
        ("cp {input} {output}", "have no energy"),
    ],
)
def test_labellers_that_label_nothing(files, pretended, label, message):
    with pytest.raises(DataError, match=message):
        ActiveLoop(settings(files, label=label)).run()


def test_labels_that_come_twice_are_refused(shaken, tmp_path):
    """One would count twice in training, and hide that another is missing."""
    frames = shaken(1, 3)
    source = write_frames(tmp_path / "chosen.extxyz", frames)
    target = write_frames(tmp_path / "labelled.extxyz", [frames[0], *frames[:2]])
    with pytest.raises(DataError, match="3 structures, of which 0 have no energy, 1 are copies of others and 0 are"):
        checked_labels(source, target, {})
    assert (tmp_path / "bad_labelled.extxyz").is_file() and not target.exists()


def test_a_pool_without_labels_needs_a_labeller(files, pretended, shaken, tmp_path):
    files["pool"] = str(write_frames(tmp_path / "bare.extxyz", shaken(1, 15, labels=False)))
    with pytest.raises(DataError, match="has labels for none of the 6 structures chosen. Give the command"):
        ActiveLoop(settings(files)).run()


def test_an_empty_or_exhausted_pool(files, pretended, tmp_path):
    with pytest.raises(DataError, match="All 25 structures of the pool are labelled already"):
        ActiveLoop(settings(files, first=25)).run()
    files["pool"], files["output"] = files["held_back"], str(tmp_path / "other")
    with pytest.raises(DataError, match="structures of the pool are labelled already|no structures"):
        ActiveLoop(settings(files)).run()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "tools/make_labels.py"}, "must name {input} and {output}"),
        ({"train": ("data.path=x",)}, "can't be given there"),
        ({"train": ("seed",)}, "can't be given there"),
        ({"pool": None}, "Give either pool=FILE"),
        ({"simulate": {"structure": "x"}}, "Give either pool=FILE"),
        ({"pool": None, "simulate": {"structure": "x"}}, "initial is missing"),
        ({"pool": None, "simulate": {"structure": "x", "stepz": 3}}, "simulate.stepz"),
        ({"launch": {"workers": 0}}, "launch.workers"),
    ],
)
def test_settings_that_can_not_be(files, changes, message):
    with pytest.raises(ConfigError, match=message):
        settings(files, **changes)


def test_one_loop_at_a_time(files, pretended):
    pytest.importorskip("fcntl")
    first = ActiveLoop(settings(files))
    with locked(first.folder / "active.lock", "loop"), pytest.raises(ConfigError, match="is still at work there"):
        first.run()
    assert len(first.run()) == 3


def test_structures_from_simulations(files, pretended, shaken, tmp_path, monkeypatch):
    start = tmp_path / "start.extxyz"
    atoms = molecule(1, 5)
    atoms.write(start)
    changes = {
        "pool": None,
        "initial": str(write_frames(tmp_path / "initial.extxyz", shaken(1, 8))),
        "label": labeller(tmp_path),
        "rounds": 2,
        "simulate": {
            "structure": str(start),
            "steps": 12,
            "trajectory_every": 2,
            "figures": False,
            "ensemble": "nve",
            "timestep": 0.2,
            "max_force": 1e9,
            "max_temperature": 1e9,
            "max_atom_energy": 1e9,
            "min_distance": 0.0,
        },
    }
    original = simulate.simulate_potential

    def stopped(potential, section, folder):
        """As after Ctrl-C in the middle."""
        outcome = original(potential, {**section, "steps": 2}, folder) | {"interrupted": True}
        (folder / "result.json").write_text(json.dumps(outcome))
        return outcome

    monkeypatch.setattr(simulate, "simulate_potential", stopped)
    with pytest.raises(SystemExit):
        ActiveLoop(settings(files, **changes)).run()
    assert not (tmp_path / "loop/round_01/chosen.extxyz").exists()
    monkeypatch.setattr(simulate, "simulate_potential", original)
    rows = ActiveLoop(settings(files, **changes)).run()
    assert [row["labels"] for row in rows] == [8, 12]
    assert json.loads((tmp_path / "loop/round_01/choice.json").read_text())["left"] == 3  # of 7 frames, 4 were chosen
