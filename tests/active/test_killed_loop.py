"""kill -9 of the real command in the middle of every stage: given again, it loses nothing and repeats nothing."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eqff.active.labelling import write_frames

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds child processes as Linux shows them"),
]

# keeps what it has done, one structure a line, as tools/make_labels.py does; takes a while for each
LABELLER = """
import sys, time, pathlib
lines, number, done = pathlib.Path(sys.argv[1]).read_text().splitlines(), 0, pathlib.Path(sys.argv[2] + ".journal")
with done.open("a") as journal:
    while lines:
        count = int(lines[0])
        if number >= len(done.read_text().splitlines()):
            time.sleep(0.3)
            print(number, file=journal, flush=True)
        head = lines[1].replace("pos:R:3", "pos:R:3:forces:R:3") + f" energy={-13.6 * count}"
        frame = [lines[0], head, *(line + " 0.1 0.0 -0.1" for line in lines[2 : count + 2])]
        with open(sys.argv[2], "a" if number else "w") as file:
            file.writelines(line + chr(10) for line in frame)
        del lines[: count + 2]
        number += 1
"""


@pytest.fixture
def start(shaken, tmp_path):
    """Starts the command, for a folder."""
    pool = write_frames(tmp_path / "pool.extxyz", [*shaken(1, 12), *shaken(2, 8)])
    held_back = write_frames(tmp_path / "held_back.extxyz", shaken(1, 6, size=0.05))
    (tmp_path / "labeller.py").write_text(LABELLER)
    label = f"{shlex.quote(sys.executable)} -S {shlex.quote(str(tmp_path / 'labeller.py'))} {{input}} {{output}}"
    train = ["model=minimal", "model.backbone.channels=4", "trainer.max_epochs=40", "data.batch_size=2"]
    train += ["tracking=none", "figures=false", "training.save_every_seconds=0.05", "trainer.accelerator=cpu"]
    numbers = ["rounds=2", "first=6", "count=4", "samples=4"]
    argv = [f"pool={pool}", f"held_back={held_back}", f'label="{label}"', f"train={json.dumps(train)}", *numbers]

    def start(folder):
        command = [sys.executable, "-m", "eqff.active", *argv, f"output={folder}"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)

    return start


def said(process, words):
    """Reads what the loop says until it has said that; all of it."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError(f"never said '{words}', but:\n{''.join(lines)}")


def kill(process, with_children):
    """What it has started goes on, unless it is killed too (as when the machine fails)."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    for child in children if with_children else []:
        os.kill(int(child), signal.SIGKILL)
    process.wait()
    process.stderr.close()


def finished(process):
    output = process.communicate()[1]
    assert process.returncode == 0, output
    return output


def results(folder):
    return [json.loads((folder / f"round_{k:02d}" / "result.json").read_text()) for k in range(2)]


@pytest.mark.parametrize("with_children", [True, False])
def test_killed_in_every_stage(start, tmp_path, with_children):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    finished(start(whole))
    journal, states = cut / "round_00" / "new_labelled.extxyz.journal", cut / "round_00" / "model_0" / "checkpoints"
    for words, reached in (
        ("Round 0: labelling", lambda: journal.is_file() and journal.read_text().count("\n") > 1),
        ("Round 0: training", lambda: list(states.glob("*.ckpt"))),
        ("Round 1: choosing", lambda: True),
        ("Round 1: labelling", lambda: True),
        ("Round 1: training", lambda: True),
    ):
        process = start(cut)
        said(process, words)
        while not reached():
            assert process.poll() is None
            time.sleep(0.02)
        kill(process, with_children)
    output = finished(start(cut))
    assert "Round 0" not in output and "Round 1: choosing" not in output  # which was done
    assert results(cut) == results(whole)  # to the last bit, also of the errors
    for name in ("chosen.extxyz", "labelled.extxyz", "train.extxyz"):
        for k in range(2):
            assert (cut / f"round_{k:02d}" / name).read_bytes() == (whole / f"round_{k:02d}" / name).read_bytes()
    assert (cut / "course.csv").read_bytes() == (whole / "course.csv").read_bytes()
    assert not [path for path in cut.rglob(".*") if path.is_file()]  # no halves of files
