"""The command: one line in, files and a table out, and one message where that can't be."""

import subprocess
import sys

import pytest

from eqff.compare import main, parse


def test_the_command_prints_and_writes(trained, copy, tmp_path, capsys):
    wide = copy("wide", config={"name": "wide", "model.backbone.channels": 8})
    main([str(trained), str(wide), "--output", str(tmp_path / "out"), "--no-figures", "sort=far/forces_mae"])
    shown = capsys.readouterr().out
    assert "model.backbone.channels=8" in shown and "Test set far" in shown and "comparison.html" in shown
    assert (tmp_path / "out" / "comparison.html").is_file() and not (tmp_path / "out" / "figures").exists()


def test_settings_in_the_way_of_other_commands():
    arguments = parse(["runs/a", "output=x", "by=data,name", "--metrics", "far/*"])
    assert (arguments.runs, arguments.output, arguments.by, arguments.metrics) == (
        ["runs/a"],
        "x",
        ["data", "name"],
        ["far/*"],
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["none/at/all"], "There is no 'none/at/all'"),
        (["."], "No run to compare in '.'"),
        (["RUN", "--by", "modell"], "No run has a setting 'modell'"),
        (["RUN", "--metrics", "far/force_mae"], "Did you mean 'far/forces_mae'"),
        (["RUN", "--sort", "x"], "can't be sorted by 'x'"),
        (["RUN", "--filters", "group=a"], "--filters is no JSON"),
        (["RUN", "--output", "RUN/config.yaml"], "can't be a folder"),
    ],
)
def test_messages(argv, message, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main([word.replace("RUN", str(trained)) for word in argv])
    shown = capsys.readouterr().err
    assert stopped.value.code == 1 and message in shown and "Traceback" not in shown
    assert not (tmp_path / "comparisons").exists()


def test_help_does_not_load_torch():
    code = (
        "import sys; from eqff.compare import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--by" in done.stdout and "python -m eqff.compare" in done.stdout
