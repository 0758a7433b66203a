"""Resuming what can't be resumed, settings of a wrong kind one by one, and the commands as processes of their own."""

import copy
import os
import shutil
import subprocess
import sys

import hydra
import pytest
import torch
from broken.commands import composed, refuses, run_composed, run_whole, snapshot, with_values
from broken.files import SPRUNG, Trap, write_all
from omegaconf import OmegaConf

from eqff.command_line.run import run_command
from eqff.config import config_directory
from eqff.errors import EqffError
from eqff.train import _train_from_command_line
from eqff.training.settings import RunSettings

TRAIN = (
    "model=minimal",
    "model.backbone.channels=4",
    "tracking=none",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=1",
    "trainer.enable_progress_bar=false",
    "data.split.val=2",
    "data.batch_size=2",
    "figures=false",
)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The folder of a training of one epoch, beside its data."""
    folder = write_all(tmp_path_factory.mktemp("runs"))
    run_command(_train_from_command_line, "train", [*TRAIN, f"data.path={folder}/good.extxyz", f"output={folder}/run"])
    return folder


@pytest.fixture
def run(stopped, tmp_path, monkeypatch):
    """A copy of that folder to break, from an empty working folder."""
    shutil.copytree(stopped / "run", tmp_path / "run")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "run"


def _write(name, content):
    def change(run):
        (run / name).write_bytes(content)

    return change


def _both_states(content):
    def change(run):
        for path in (run / "checkpoints").glob("*.ckpt"):
            path.write_bytes(content(path))

    return change


def _pickle_both(run):
    for path in (run / "checkpoints").glob("*.ckpt"):
        torch.save({"state_dict": {}, "global_step": 3, "epoch": 1, "trap": Trap()}, path)


def _edit(key, value):
    def change(run):
        config = OmegaConf.load(run / "config.yaml")
        OmegaConf.update(config, key, value, force_add=True)
        OmegaConf.save(config, run / "config.yaml")

    return change


RESUMES = {
    "no folder": (lambda run: shutil.rmtree(run), [], r"can't be resumed"),
    "no config": (lambda run: (run / "config.yaml").unlink(), [], r"config\.yaml"),
    "no states": (lambda run: shutil.rmtree(run / "checkpoints"), [], r"last\.ckpt"),
    "bad YAML": (_write("config.yaml", b"data: [1, 2\n  model: }"), [], r"config\.yaml"),
    "an empty config": (_write("config.yaml", b""), [], r"config\.yaml|training"),
    "binary config": (_write("config.yaml", bytes(range(256))), [], r"config\.yaml"),
    "an unknown setting in the config": (_edit("data.foo", 3), [], r"data\.foo is not a setting"),
    "a wrong value in the config": (_edit("training.ema", 3.0), [], r"training\.ema is 3\.0"),
    "data that is gone": (_edit("data.path", "gone.extxyz"), ["trainer.max_epochs=2"], r"gone\.extxyz"),
    "states cut off": (_both_states(lambda path: path.read_bytes()[:500]), [], r"can't be (read|resumed)"),
    "empty states": (_both_states(lambda path: b""), [], r"can't be (read|resumed)"),
    "text states": (_both_states(lambda path: b"no state"), [], r"can't be (read|resumed)"),
    "states that run code": (_pickle_both, [], r"can't be (read|resumed)"),
    "another model": (lambda run: None, ["model.backbone.channels=8"], r"model\.backbone\.channels.*on resume"),
    "another option": (lambda run: None, ["model=flagship"], r"model.*on resume"),
    "other data": (lambda run: None, ["data.path=other.extxyz"], r"data\.path.*on resume"),
    "a misspelt setting": (lambda run: None, ["trainer.max_epoch=3"], r"no setting 'trainer\.max_epoch'"),
    "a wrong limit": (lambda run: None, ["trainer.max_epochs=many"], r"trainer\.max_epochs is 'many'"),
}


@pytest.mark.parametrize("name", RESUMES)
def test_resumes(run, capsys, name):
    change, extra, pattern = RESUMES[name]
    change(run)
    before = snapshot(run) if run.exists() else None
    refuses(capsys, lambda: run_whole("train", [f"resume={run}", *extra]), pattern)
    assert before is None or snapshot(run) == before
    assert not os.path.exists(SPRUNG)


# ------------------------------------------------------------------ every setting of the config

OPEN = ("data.keys", "data.units", "data.test")  # names that users choose


@pytest.fixture(scope="module")
def config(stopped):
    """A whole config that is right, with every kind of part."""
    overrides = [
        *TRAIN,
        f"data.path={stopped}/good.extxyz",
        "model=flagship",
        "+head@model.heads.dipole=dipole",
        "+training.losses.charges.weight=1.0",
        "+training.losses.dipole.weight=1.0",
    ]
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
        cfg = OmegaConf.to_container(hydra.compose("train", overrides=overrides))
    cfg["output"] = str(stopped / "new")
    RunSettings.from_config(cfg)
    return cfg


def places(section, prefix=()):
    """The keys of a config by depth: (sections, settings), each a tuple of names."""
    sections, settings = [prefix], []
    for name, value in section.items():
        if isinstance(value, dict) and value:
            deeper = places(value, (*prefix, name))
            sections += deeper[0]
            settings += deeper[1]
        else:
            settings.append((*prefix, name))
    return sections, settings


def changed(cfg, place, value):
    """A copy of a config with one value replaced."""
    cfg = copy.deepcopy(cfg)
    section = cfg
    for name in place[:-1]:
        section = section[name]
    section[place[-1]] = value
    return cfg


def message(cfg):
    with pytest.raises(EqffError) as caught:
        RunSettings.from_config(cfg)
    return str(caught.value)


def test_every_setting_refuses_what_it_can_not_be(config):
    settings = places(config)[1]
    assert len(settings) > 80
    for place in settings:
        try:
            text = message(changed(config, place, [[{"no": "such value"}]]))
        except pytest.fail.Exception:
            pytest.fail(f"{'.'.join(place)} took a list of lists")
        named = place[-2] if place[-1] == "_target_" else place[-1]
        assert named in text, (place, text)


def test_every_number_refuses_text_and_every_switch_a_number(config):
    values = {place: _at(config, place) for place in places(config)[1]}
    numbers = [place for place, value in values.items() if type(value) in (int, float)]
    switches = [place for place, value in values.items() if isinstance(value, bool)]
    assert len(numbers) > 40 and len(switches) > 8
    for place in numbers:
        if ".".join(place) not in ("trainer.devices", "trainer.val_check_interval"):  # which take text too
            assert f"{'.'.join(place)} is 'xyz'" in message(changed(config, place, "xyz"))
    for place in switches:
        assert f"{'.'.join(place)} is 3" in message(changed(config, place, 3))


def _at(cfg, place):
    for name in place:
        cfg = cfg[name]
    return cfg


def test_every_section_refuses_what_it_does_not_know(config):
    for place in places(config)[0]:
        if ".".join(place) not in OPEN:
            text = message(changed(config, (*place, "nonsense"), 3))
            assert "nonsense" in text, (place, text)


def test_no_section_can_be_left_out_or_be_a_word(config):
    for name in ("data", "model", "training", "trainer", "tracking", "budget"):
        assert f"{name} is missing" in message({key: value for key, value in config.items() if key != name})
        assert f"{name} is 'word'" in message({**config, name: "word"})


# ------------------------------------------------------------------ as processes


@pytest.mark.parametrize(
    ("module", "argv", "expected"),
    [
        pytest.param("train", ["data.path=missing.extxyz"], "missing.extxyz", marks=pytest.mark.slow),  # as evaluate
        ("train", ["data.pth=x"], "Did you mean 'data.path'"),
        ("evaluate", ["model=nowhere", "data.path=x.extxyz"], "There is no model at 'nowhere'"),
    ],
)
def test_processes(tmp_path, module, argv, expected):
    """One line, also where torch shows everybody what it says of other packages."""
    shown = "default:`torch.jit.script` is deprecated"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": shown}
    command = [sys.executable, "-m", f"eqff.{module}", *argv]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("eqff: ") and done.stderr.count("\n") == 1 and expected in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write and read everything")
def test_missing_rights(tmp_path, capsys, monkeypatch):
    files = write_all(tmp_path)
    monkeypatch.chdir(tmp_path / "empty_folder")
    (tmp_path / "notes").chmod(0o555)
    argv = [f"data.path={files}/good.extxyz", f"output={files}/notes/run"]
    refuses(capsys, lambda: run_composed("train", with_values(composed("train", TRAIN), argv)), r"no right")
    (tmp_path / "good.extxyz").chmod(0o000)
    cfg = with_values(composed("train", TRAIN), argv[:1])
    refuses(capsys, lambda: run_composed("train", cfg), r"good\.extxyz.*[Pp]ermission")


def test_rights_are_asked_for_before_any_work(tmp_path, capsys, monkeypatch):
    files = write_all(tmp_path)
    monkeypatch.chdir(tmp_path / "empty_folder")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root would be let in
    cfg = with_values(composed("train", TRAIN), [f"data.path={files}/good.extxyz", f"output={files}/notes/run"])
    refuses(capsys, lambda: run_composed("train", cfg), r"output: no right to write into '.*notes'")
