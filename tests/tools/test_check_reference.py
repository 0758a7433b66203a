"""The reference tool: real cases pass, wrong ones fail, what can't be checked is said."""

import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest

from eqff.errors import DataError
from eqff.terms.zbl import ZBLRepulsion
from eqff.testing.reference.case import Quantity, read_case
from eqff.testing.reference.check import FAIL, MISSING, PASS, check_case
from eqff.units import COULOMB_CONSTANT

ROOT = Path(__file__).parents[2]
REFERENCE = Path(os.environ.get("EQFF_REFERENCE", ROOT.parent / "shared" / "reference"))
MAY_SKIP = "EQFF_REFERENCE_REQUIRED" not in os.environ


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location("check_reference", ROOT / "tools" / "check_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(folder, **changes):
    """A pair of hydrogen atoms; V(0.3 Å) = k_e phi(x) / r without a switch, worked out by hand."""
    case = {
        "schema": "eqff-reference/1",
        "id": "zbl/made_up",
        "system": {"numbers": [1, 1], "positions": [[0, 0, 0], [0.3, 0, 0]], "cell": None, "pbc": [False] * 3},
        "parameters": {"inner": 0.3, "outer": 1.0, "coulomb_eV_A_used": 14.399645},
        "results": {
            # the value that LAMMPS gives for this pair
            "energy": 14.063006248492002,
            "scan": [
                {
                    "distance": 0.3,
                    "energy": 14.063006248492002,
                    "force_on_second_x": 101.26762699032571,
                    "unswitched": 16.539151778408165,
                }
            ],
        },
        "tolerance": {"relative": 1e-6, "kind": "relative"},
    } | changes
    path = folder / "case.json"
    path.write_text(json.dumps(case))
    return path


@pytest.mark.reference
@pytest.mark.skipif(
    MAY_SKIP and not (REFERENCE / "zbl").is_dir(), reason=f"no reference cases at {REFERENCE} (set EQFF_REFERENCE)"
)
def test_reference_cases_pass(tool, capsys):
    assert tool.main([str(REFERENCE / "zbl")]) == 0
    output = capsys.readouterr().out
    assert "0 fail" in output and "NOT" not in output
    assert "zbl/cluster8" in output and "scan.force_on_second_x" in output


def test_right_case_passes(tool, tmp_path, capsys):
    assert tool.main([str(write(tmp_path))]) == 0
    assert "4 quantities pass, 0 fail." in capsys.readouterr().out


@pytest.mark.parametrize("key", ["energy", "force_on_second_x", "unswitched"])
def test_wrong_number_fails(key, tool, tmp_path, capsys):
    point = {"distance": 0.3, "energy": 14.063006, "force_on_second_x": 101.267627, "unswitched": 16.539152}
    point[key] *= 1 + 1e-5
    path = write(tmp_path, results={"energy": 14.063006248492002, "scan": [point]})
    assert tool.main([str(path)]) == 1
    assert "3 quantities pass, 1 fail." in capsys.readouterr().out


def test_absolute_tolerance(tmp_path):
    results = {"energy": 14.063006248492002 + 3e-5}
    kinds = [{"energy": 1e-4, "kind": "absolute"}, {"energy": 1e-5, "kind": "absolute"}]
    found = [check_case(read_case(write(tmp_path, results=results, tolerance=t)))[0] for t in kinds]
    assert [row.status for row in found] == [PASS, FAIL]
    assert found[0].deviation == pytest.approx(3e-5, rel=1e-3)


def test_missing_tolerance_or_shape_fails(tmp_path):
    rows = check_case(read_case(write(tmp_path, tolerance={"dipole": 1e-6})))
    assert {row.status for row in rows} == {FAIL}
    rows = check_case(read_case(write(tmp_path, results={"energy": [1.0, 2.0]})))
    assert [row.status for row in rows] == [FAIL] and "shape" in rows[0].note


def test_not_a_number_fails(tmp_path, monkeypatch):
    monkeypatch.setattr("eqff.testing.reference.topics.zbl.quantities", lambda case: [Quantity("energy", float("nan"))])
    assert check_case(read_case(write(tmp_path)))[0].status == FAIL


def test_layer_that_refuses_fails(tmp_path):
    parameters = {"inner": 2.0, "outer": 1.0, "coulomb_eV_A_used": 14.4}
    rows = check_case(read_case(write(tmp_path, parameters=parameters)))
    assert [row.status for row in rows] == [FAIL] and "inner < outer" in rows[0].note


def test_wrong_layer_fails(tmp_path, monkeypatch):
    """The check is of the layer itself: counting each pair twice is found."""
    right = ZBLRepulsion.forward
    monkeypatch.setattr(ZBLRepulsion, "forward", lambda *a: {"energy": 2 * right(*a)["energy"]})
    status = {row.quantity: row.status for row in check_case(read_case(write(tmp_path)))}
    assert status["energy"] == FAIL and status["scan.energy"] == FAIL and status["scan.unswitched"] == PASS


def test_unknown_topic_is_shown_but_no_failure(tool, tmp_path, capsys):
    path = write(tmp_path, id="astrology/saturn")
    assert tool.main([str(path)]) == 0
    output = capsys.readouterr().out
    assert "not implemented" in output and "0 quantities pass" in output
    assert "NOT IMPLEMENTED, so NOT CHECKED: 1 cases of astrology (1)." in output


def test_result_that_nothing_computes_is_shown(tmp_path):
    rows = check_case(read_case(write(tmp_path, results={"energy": 14.063006248492002, "entropy": 1.0})))
    assert {row.quantity: row.status for row in rows} == {"energy": PASS, "entropy": MISSING}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not a reference case"),
        ('{"schema": "other/1"}', "other/1"),
        ('{"schema": "eqff-reference/1", "id": "zbl/x"}', "system, parameters, results, tolerance missing"),
    ],
)
def test_other_files_are_refused(content, message, tool, tmp_path, capsys):
    (tmp_path / "case.json").write_text(content)
    assert tool.main([str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_nothing_there(tool, tmp_path, capsys):
    assert tool.main([str(tmp_path / "absent")]) == 2
    assert tool.main([str(tmp_path)]) == 2
    assert "holds no reference case" in capsys.readouterr().err


def test_a_case_need_not_have_all_that_is_computed(tmp_path):
    results = {"energy": None, "scan": [{"distance": 0.3, "unswitched": 16.539151778408165}]}
    rows = check_case(read_case(write(tmp_path, results=results, parameters={"inner": 0.3, "outer": 1.0})))
    assert {row.quantity: row.status for row in rows} == {"scan.unswitched": PASS}


def test_what_a_case_lacks_fails_it_and_no_other(tool, tmp_path, capsys):
    write(tmp_path, parameters={"inner": 0.3})
    (tmp_path / "case.json").rename(tmp_path / "broken.json")
    write(tmp_path)
    assert tool.main([str(tmp_path)]) == 1
    output = capsys.readouterr().out
    assert "the case has no 'outer'" in output and "4 quantities pass, 1 fail." in output


def test_structure_that_is_none(tmp_path):
    with pytest.raises(DataError, match="is no structure"):
        read_case(write(tmp_path, system={"numbers": [1], "positions": [[0, 0, 0], [0.3, 0, 0]]}))
    symbols = read_case(write(tmp_path, system={"symbols": ["O"], "positions": [[0, 0, 0]], "pbc": None}))
    assert symbols.atoms.numbers.tolist() == [8] and not symbols.atoms.pbc.any()


def test_own_tolerance_before_that_of_another(tmp_path):
    """Two atoms with different Thole a, of which the smaller one counts: 2 × 2 systems along each axis."""
    first, second, strength, distance = 1.3, 0.8, 0.3, 1.1
    x = strength * distance**3 / (first * second) ** 0.5
    three, five = 1 - np.exp(-x), 1 - (1 + x) * np.exp(-x)
    expected = np.zeros((2, 3, 3))
    for axis, coupling in enumerate((-three, -three, 3 * five - three)):
        inverse = np.array([[1 / first, -coupling / distance**3], [-coupling / distance**3, 1 / second]])
        expected[:, axis, axis] = np.linalg.solve(inverse, np.ones(2))
    changes = {
        "id": "multipoles/made_up",
        "system": {"numbers": [6, 8], "positions": [[0, 0, 0], [0, 0, distance]], "cell": None, "pbc": [False] * 3},
        "parameters": {"polarizabilities": [first, second], "thole": [0.7, strength]},
        "results": {"atomic_response": (expected + 1e-5).tolist(), "polarizability": expected.sum(axis=0).tolist()},
        "tolerance": {"atomic_response": 1e-4, "polarizability": 1e-10},
    }
    rows = check_case(read_case(write(tmp_path, **changes)))
    assert len(rows) == 4 and {row.status for row in rows} == {PASS}
    assert {row.tolerance for row in rows if row.quantity == "atomic_response"} == {1e-4}


@pytest.mark.parametrize(("sign", "status"), [(1.0, PASS), (-1.0, FAIL)])
def test_potential_of_an_ion(sign, status, tmp_path):
    """Charges that make the potential themselves: their moments about the origin are those of the case."""
    places = np.array([[0.2, 0.1, 1.0], [0.9, -0.3, 1.4], [-0.5, 0.8, 0.7]])
    charges, numbers = np.array([1.4, -0.9, 0.5]), [8, 1, 1]
    directions = np.random.default_rng(0).normal(size=(60, 3))
    points = places.mean(axis=0) + 4.5 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = np.linalg.norm(points[:, None] - places, axis=2)
    changes = {
        "id": "quantum/made_up",
        "system": {"numbers": numbers, "positions": places.tolist(), "cell": None, "pbc": [False] * 3, "charge": 1},
        "parameters": {},
        "results": {
            "mulliken_charges": charges.tolist(),
            "dipole": (sign * charges @ places).tolist(),
            "second_moment": np.einsum("i,ia,ib->ab", charges, places, places).tolist(),
            "esp_points": points.tolist(),
            "esp": (COULOMB_CONSTANT * (charges / lengths).sum(axis=1)).tolist(),
        },
        "tolerance": {"dipole": 1e-8},
    }
    rows = {row.quantity: row.status for row in check_case(read_case(write(tmp_path, **changes)))}
    assert rows["dipole"] == PASS and rows["esp.error_beyond_allowed"] == status


def test_stress_of_periodic_repulsion(tmp_path):
    """Two atoms of a large cell: the stress is -r F/V of their pair alone."""
    cell = 20.0
    stress = [[-0.3 * 101.26762699032571 / cell**3, 0, 0], [0, 0, 0], [0, 0, 0]]
    changes = {
        "system": {
            "numbers": [1, 1],
            "positions": [[0.1, 0, 0], [19.8, 0, 0]],
            "cell": (cell * np.eye(3)).tolist(),
            "pbc": [True] * 3,
        },
        "results": {"stress": stress},
        "tolerance": {"stress": 1e-8},
    }
    assert [row.status for row in check_case(read_case(write(tmp_path, **changes)))] == [PASS]
