"""`python -m eqff.models`: what there is, and everything about one."""

import importlib
import subprocess
import sys

import pytest

from eqff.models import main


def test_lists(registered, entry, capsys):
    registered(water=entry, ice=entry | {"licence": "CC-BY-4.0"})
    main([])
    shown = capsys.readouterr().out
    for text in ("water", "ice", "CC-BY-4.0", "H C N O", "+0: 1", "+1: 2", "12.3 meV/Å", "kB", "no"):
        assert text in shown


def test_describes(registered, entry, capsys):
    registered(water=entry | {"citation": "A. Author [1]", "caution": "Not [/] for ice.", "outside": "refuse"})
    main(["water"])
    shown = capsys.readouterr().out
    for text in (entry["sha256"], "A. Author [1]", "Not [/] for ice.", "are refused", "test/energy_rmse", "3004 meV"):
        assert text in shown


def test_says_where_models_could_be(capsys, monkeypatch):
    # the package's attribute of this name is the function
    monkeypatch.setattr(importlib.import_module("eqff.registry.catalogue"), "catalogue", dict)
    main([])
    assert "make_models.py" in capsys.readouterr().out


def test_unknown_name_is_one_message(registered, entry, capsys):
    registered(water=entry)
    with pytest.raises(SystemExit):
        main(["watr"])
    assert (
        "eqff: There is no model at 'watr', and no pretrained one of that name. Did you mean 'water'"
        in capsys.readouterr().err
    )


def test_does_not_wait_for_torch():
    code = "import sys, eqff.models; eqff.models.main([]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=1200).returncode == 0
