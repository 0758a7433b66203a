"""The command as users meet it: help, and one message instead of a traceback."""

import itertools
import subprocess
import sys

import hydra
import pytest

from eqff.command_line.overrides import check_command_line, open_override, quoted
from eqff.command_line.run import run_command
from eqff.config import config_directory, settings
from eqff.errors import ConfigError, DataError
from eqff.sweeps.space import read_space


def explain(*argv):
    with pytest.raises(ConfigError) as caught:
        check_command_line(config_directory(), "train", argv)
    return str(caught.value)


def test_help_is_quick_and_names_what_is_often_set():
    command = "import sys; from eqff.train import main; sys.argv = ['eqff-train', '--help']; main()"
    whole = [sys.executable, "-X", "importtime", "-c", command]
    result = subprocess.run(whole, capture_output=True, text=True, check=True)
    for text in ("data.path=my.extxyz", "training/losses ", "budget", "resume=runs/FOLDER"):
        assert text in result.stdout
    assert "torch" not in {line.split("|")[-1].strip() for line in result.stderr.splitlines()}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.optimzer.lr=0.1", "Did you mean 'training.optimizer.lr'"),
        ("lr=0.1", "Did you mean 'training.optimizer.lr'"),
        ("max_epochs=5", "Did you mean 'trainer.max_epochs'"),
        ("data=ion", "'data' has no option 'ion'. Did you mean 'ions'"),
        ("training/schedule=cosinus", "Did you mean 'cosine'"),
        ("~training.emma", "Did you mean 'training.ema'"),
        ("data.path=[a", "can't be read as KEY=VALUE"),
    ],
)
def test_wrong_overrides(override, expected):
    assert expected in explain(override)


@pytest.mark.parametrize(
    "override",
    ["data.keys={E: energy}", "data.units.energy=kcal/mol", "data.test.far=far.extxyz", "training.optimizer.groups={}"],
)
def test_names_that_users_choose_need_no_plus_sign(override):
    check_command_line(config_directory(), "train", [open_override(override)])
    assert open_override("data.keysmith=1") == "data.keysmith=1"


@pytest.mark.parametrize("path", ["Jürgen/wasser.extxyz", "data (1).extxyz", "br[1]/a.extxyz", "C#1.xyz", "a=b.xyz"])
def test_paths_need_no_quotes(path):
    """Hydra's own grammar takes such text only in quotes; a sweep hands it on to its runs."""
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
        assert hydra.compose("train", overrides=[quoted(f"data.path={path}")]).data.path == path
    space = read_space([f"data.path={path}", "seed=0,1"])
    assert quoted(space.fixed[0]) == space.fixed[0] == f'data.path="{path}"'


@pytest.mark.parametrize(
    "text",
    ["seed=0,1", "a=[1,2]", "a=[1,2", "seed=range(0,9)", "lr=tag(log,interval(1,2))", "p=a.xyz@:20", "a=${b}", "a='ü'"],
)
def test_what_the_grammar_knows_is_not_quoted(text):
    assert quoted(text) == text


def test_options_stand_anywhere(tmp_path, capsys, monkeypatch):
    (tmp_path / "term").mkdir()
    (tmp_path / "term" / "mine.yaml").write_text("_target_: my_parts.mine.Mine\n")
    monkeypatch.setattr(sys, "argv", ["eqff-train"])
    seen = []
    run_command(
        seen.append, "train", ["seed=3", "--config-dir", str(tmp_path), "~model.terms.zbl", "+term@model.terms.x=mine"]
    )
    assert seen[0].model.terms.x == {"_target_": "my_parts.mine.Mine"} and "zbl" not in seen[0].model.terms
    with pytest.raises(SystemExit):
        run_command(seen.append, "train", ["+term@model.terms.x=mine"])
    message = capsys.readouterr().err
    assert "'term' has no option 'mine'" in message and "--config-dir FOLDER" in message


@pytest.mark.parametrize("override", ["data.path=x", "+new.key=1", "training/schedule=cosine", "experiment=main_job"])
def test_right_overrides(override):
    check_command_line(config_directory(), "train", [override])


def test_every_option_of_every_group_composes():
    """Groups side by side: a composition takes an option of each, as long as they have any left."""
    groups = ("data", "tracking", "model", *(f"training/{part}" for part in ("losses", "optimizer", "schedule")))
    options = [[f"{group}={file.stem}" for file in _files(group)] for group in groups]
    assert all(options)
    for chosen in itertools.zip_longest(*options):
        check_command_line(config_directory(), "train", [text for text in chosen if text is not None])
    for file in _files("experiment"):  # which choose options of the other groups
        check_command_line(config_directory(), "train", [f"experiment={file.stem}"])


def _files(group):
    return sorted((config_directory() / group).glob("*.yaml"))


def test_one_message_and_exit_code(capsys, monkeypatch):
    def task(cfg):
        raise DataError("frame 3 has no forces")

    monkeypatch.setattr(sys, "argv", ["eqff-train"])
    for argv, message in (([], "frame 3 has no forces"), (["training.emma=3"], "Did you mean")):
        with pytest.raises(SystemExit) as left:
            run_command(task, "train", argv)
        captured = capsys.readouterr()
        assert left.value.code == 1
        assert message in captured.err
        assert "Traceback" not in captured.err


def test_missing_value(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["eqff-train"])
    with pytest.raises(SystemExit) as left:
        run_command(lambda cfg: cfg.data.path, "train", [])
    assert left.value.code == 1
    assert "data.path is missing: give it as data.path=..." in capsys.readouterr().err


def test_bugs_keep_their_traceback(monkeypatch, capsys):
    def task(cfg):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(sys, "argv", ["eqff-train"])
    with pytest.raises(SystemExit):
        run_command(task, "train", [])
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_settings_of_a_section():
    from eqff.training.schedules import Schedule

    assert settings(Schedule, {"shape": "cosine"}, "training.schedule").shape == "cosine"
    with pytest.raises(ConfigError, match=r"training.schedule.warmpu is not a setting. Did you mean 'warmup'"):
        settings(Schedule, {"warmpu": 0.1}, "training.schedule")
