"""Files in pieces, as several processes read them, are the files."""

import gzip
from itertools import chain

import numpy as np
import pytest
from ase.db import connect
from ase.io import write
from frames_on_file import methanes, waters, write_extxyz

from eqff.data.readers import reader_for
from eqff.data.readers.extxyz import FrameTexts
from eqff.data.readers.hdf5 import read_hdf5
from eqff.errors import DataError

h5py = pytest.importorskip("h5py")


def frames():
    return [*waters(5), *methanes(4), *waters(1, seed=7)]


def as_extxyz(folder):
    return write_extxyz(folder / "a.extxyz", frames())


def as_gzip(folder):
    (folder / "a.extxyz.gz").write_bytes(gzip.compress(as_extxyz(folder).read_bytes()))
    return folder / "a.extxyz.gz"


def as_database(folder):
    with connect(folder / "a.db") as database:
        for atoms in frames():
            database.write(atoms, data={"charges": np.arange(len(atoms), dtype=float)})
    return folder / "a.db"


def as_hdf5(folder):
    with h5py.File(folder / "a.h5", "w") as file:
        for name, some in (("methane", methanes(7)), ("water", waters(3))):
            group = file.create_group(name)
            group.attrs["total_charge"] = 0
            group["positions"] = [atoms.positions for atoms in some]
            group["numbers"] = some[0].numbers if name == "water" else [atoms.numbers for atoms in some]
            group["energy"] = [atoms.get_potential_energy() for atoms in some]
            group["forces"] = [atoms.get_forces() for atoms in some]
            group["cell"] = np.eye(3) * 9
            group["label"] = [f"{name} {i}" for i in range(len(some))]
    return folder / "a.h5"


def as_trajectory(folder):
    write(folder / "a.traj", frames())
    return folder / "a.traj"


def same(one, other):
    assert np.array_equal(one.numbers, other.numbers) and np.array_equal(one.positions, other.positions)
    assert np.array_equal(one.cell, other.cell) and np.array_equal(one.pbc, other.pbc)
    assert one.units == other.units
    for ours, theirs in ((one.structure, other.structure), (one.atoms, other.atoms)):
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("size", [1, 3, 4, 100])
@pytest.mark.parametrize("make", [as_extxyz, as_gzip, as_database, as_hdf5, as_trajectory])
def test_pieces_are_the_file(tmp_path, make, size):
    path = make(tmp_path)
    reader = reader_for(path)
    whole, pieces = list(reader.records(path)), reader.pieces(path, size)
    assert len(whole) == 10
    parts = [list(piece.records()) for piece in pieces]
    assert [piece.first for piece in pieces] == list(np.cumsum([0, *map(len, parts)])[:-1])
    if reader.split is not None and make is not as_gzip:
        assert max(map(len, parts)) <= size and len(parts) >= 10 / size
    for one, other in zip(chain(*parts), whole, strict=True):
        same(one, other)


def test_cell_vectors_on_lines_of_their_own_belong_to_their_frame(tmp_path):
    frame = "1\nfirst\nCu 0 0 0\nVEC1 3 0 0\nVEC2 0 3 0\nVEC3 0 0 3\n"
    path = tmp_path / "a.xyz"
    path.write_text(3 * frame)
    reader = reader_for(path)
    parts = [list(piece.records()) for piece in reader.pieces(path, 2)]
    assert [len(part) for part in parts] == [2, 1]
    assert all(np.array_equal(record.cell, 3 * np.eye(3)) for record in chain(*parts))


def test_positions_of_frames_are_their_bytes(tmp_path):
    path = as_extxyz(tmp_path)
    with path.open("rb") as file:
        texts, starts = FrameTexts(file), [0]
        for text in texts.next_frames(100):
            starts.append(starts[-1] + len(text))
            assert texts.position == starts[-1]
    assert starts[-1] == path.stat().st_size and len(starts) == 11


def test_large_datasets_are_read_in_rows(tmp_path, monkeypatch):
    path = as_hdf5(tmp_path)
    whole = list(read_hdf5(path))
    monkeypatch.setattr("eqff.data.readers.arrays._ROWS", 2)
    for one, other in zip(read_hdf5(path), whole, strict=True):
        same(one, other)


@pytest.mark.parametrize("text", ["3\nbroken\nH 0 0 0\n", "x\n"])
def test_what_is_broken_is_told_with_its_frame(tmp_path, text):
    from eqff.data.reading import read_frames

    path = as_extxyz(tmp_path)
    path.write_text(path.read_text() + text)
    with pytest.raises(DataError, match="a.extxyz: frame 10 can't be read"):
        read_frames(path)
