"""The scaling study's own arithmetic: the box, exponents, tables, and that it goes on where it stopped."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

TOOLS = Path(__file__).parents[2] / "tools"


def load(name):
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def point(atoms, cpu, kind="coulomb"):
    known = {"wall": 2 * cpu, "cpu": cpu, "memory_mib": 10.0, "force_error": None}
    return {"kind": kind, "atoms": atoms, "threads": 1} | known


def test_water_has_its_density():
    box = load("scaling_points").water(192)
    molecules = box.positions.reshape(-1, 3, 3)
    assert np.allclose(np.linalg.norm(molecules[:, 1:] - molecules[:, :1], axis=2), 0.9572, atol=1e-3)
    grams = box.get_masses().sum() / 0.602214076  # g of 1e24 such boxes in cm³ of Å³
    assert grams / box.get_volume() == pytest.approx(1.0, abs=0.005)
    with pytest.raises(ValueError, match="192 are"):
        load("scaling_points").water(200)


def test_exponents_are_of_large_sizes_alone():
    tool = load("scaling")
    points = [point(n, 5.0 if n < 1000 else 1e-6 * n**1.5) for n in (100, 2000, 4000, 8000)]
    assert tool.exponent(points) == pytest.approx(1.5, abs=1e-9)
    assert tool.exponent(points[:2]) is None
    assert "cpu 1.50" in tool.tables(points)[0]


def test_it_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys):
    tool, measured = load("scaling"), []
    monkeypatch.setattr(tool, "_measure", lambda job: measured.append(job["atoms"]) or point(job["atoms"], 1.0))
    (tmp_path / "points.jsonl").write_text(json.dumps(point(192, 1.0)) + "\n")
    arguments = ["--folder", str(tmp_path), "--kinds", "coulomb", "--threads", "1", "--sizes", "192", "648"]
    assert tool.main([*arguments, "--figure", str(tmp_path / "f.png")]) == 0
    assert measured == [648] and (tmp_path / "f.png").is_file()
    assert "| 648 | 2 | 1 | 10 |" in capsys.readouterr().out
    assert tool.main(arguments) == 0 and measured == [648]
