"""The battery for readers: on formats that eqff reads, on one it must find fault with; and how readers are found."""

import json

import ase.io
import numpy as np
import pytest

from eqff.data.readers import Reader, reader_for
from eqff.data.records import Record
from eqff.errors import ConfigError
from eqff.packages import allow
from eqff.testing.readers import ReaderBattery


class TestExtxyz(ReaderBattery):
    suffix = ".extxyz"
    tolerance = 1e-7  # eight decimals in the file

    def write(self, path, structures):
        ase.io.write(path, structures, format="extxyz")


class TestTrajectory(ReaderBattery):
    suffix = ".traj"

    def write(self, path, structures):
        ase.io.write(path, structures)


class Careless(ReaderBattery):
    """Leaves out the lines that it can't read, rounds, and reads all at once."""

    suffix = ".careless"

    def write(self, path, structures):
        lines = []
        for atoms in structures:
            arrays = {"numbers": atoms.numbers, "positions": atoms.positions, "cell": atoms.cell.array}
            frame = {key: np.round(value, 3).tolist() for key, value in arrays.items()}
            frame |= {"pbc": atoms.pbc.tolist(), "atoms": {"forces": atoms.get_forces().tolist()}}
            frame["structure"] = {**atoms.info, "energy": atoms.get_potential_energy()}
            lines.append(json.dumps(frame))
        path.write_text("\n".join(lines))


def read_carelessly(path):
    records = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            frame = json.loads(line)
        except ValueError:
            continue
        arrays = {key: np.array(frame[key]) for key in ("numbers", "positions", "cell", "pbc")}
        forces = np.array(frame["atoms"]["forces"])
        records.append(Record(**arrays, structure=frame["structure"], atoms={"forces": forces}))
    return records


@pytest.mark.parametrize(
    "check", ["test_frames_come_back", "test_slices", "test_cut_file_is_refused"], ids=["rounded", "at once", "cut"]
)
def test_a_careless_reader_is_caught(check, tmp_path, monkeypatch):
    monkeypatch.setattr("eqff.data.readers.READERS", (Reader(read_carelessly, (".careless",)),))
    path = tmp_path / "frames.careless"
    Careless().write(path, Careless().structures())
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(Careless(), check)(path)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Makes a package of a user with this content, and allows it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("eqff.packages._ALLOWED_PACKAGES", ["eqff"])

    def make(name, content):
        (tmp_path / f"{name}.py").write_text(content)
        allow(name)

    return make


def test_readers_of_a_package_come_first(package, tmp_path):
    package("readers_of_mine", 'from eqff.data.readers import Reader\nREADERS = (Reader(iter, (".xyz", ".mine")),)\n')
    assert reader_for(tmp_path / "a.mine").records is iter
    assert reader_for(tmp_path / "a.xyz").records is iter
    assert reader_for(tmp_path / "a.extxyz").records is not iter


def test_packages_that_declare_something_else_are_refused(package, tmp_path):
    package("no_readers_of_mine", 'READERS = ("read_it",)\n')
    with pytest.raises(ConfigError, match="READERS of a package holds 'read_it'"):
        reader_for(tmp_path / "a.xyz")


def test_packages_that_are_not_there_are_named(package, tmp_path):
    allow("packages_of_nobody")
    with pytest.raises(ConfigError, match="'packages_of_nobody' can't be imported.*working folder"):
        reader_for(tmp_path / "a.xyz")
