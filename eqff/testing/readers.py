"""The battery for readers of files: what was written comes back, and broken files get one message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from eqff.data.readers import reader_for
from eqff.data.reading import read_frames
from eqff.errors import DataError
from eqff.testing.structures import crystal, molecule


class ReaderBattery:
    """For a reader: a subclass says what such files are called and how one is written.

    Attributes:
        suffix: End of the names of its files.
        settings: Arguments of `eqff.data.reading.read_frames` without which the files can't be read, for example units.
        tolerance: Relative; how exactly numbers come back.
    """

    suffix: str
    settings: Mapping[str, Any] = {}
    tolerance: float = 1e-12

    def write(self, path: Path, structures: Sequence[Atoms]) -> None:
        """Writes structures with charge and multiplicity in ``info``, and energy and forces from a calculator."""
        raise NotImplementedError(f"{type(self).__name__} needs its own write(path, structures).")

    def structures(self) -> list[Atoms]:
        """Frames that a file of this format can hold: molecules in several states, and a crystal."""
        frames = [molecule(61), molecule(62, 6, total_charge=1), molecule(63, 1), crystal(64, 5)]
        for seed, atoms in enumerate(frames):
            rng = np.random.default_rng(seed)
            atoms.calc = SinglePointCalculator(atoms, energy=rng.normal(), forces=rng.normal(size=(len(atoms), 3)))
        return frames

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """A file with all structures."""
        path = tmp_path / f"frames{self.suffix}"
        self.write(path, self.structures())
        return path

    def test_frames_come_back(self, path: Path) -> None:
        """Every number, in the order of the file."""
        frames, structures = read_frames(path, **self.settings), self.structures()
        assert len(frames) == len(structures)
        for frame, atoms in zip(frames, structures, strict=True):
            assert frame.numbers.tolist() == atoms.numbers.tolist()
            assert frame.pbc[0].tolist() == atoms.pbc.tolist()
            expected = {"positions": atoms.positions, "cell": np.asarray(atoms.cell), "forces": atoms.get_forces()}
            expected["energy"] = atoms.get_potential_energy()
            expected |= {key: atoms.info[key] for key in ("total_charge", "multiplicity")}
            for name, value in expected.items():
                found = frame[name].numpy().reshape(np.shape(value))
                np.testing.assert_allclose(found, value, rtol=self.tolerance, atol=self.tolerance, err_msg=name)

    def test_slices(self, path: Path) -> None:
        """``file@1:3`` takes the second and third frame, without the file being read at once."""
        assert isinstance(reader_for(path).records(path), Iterator)
        some = read_frames(f"{path}@1:3", **self.settings)
        assert [frame.num_nodes for frame in some] == [len(atoms) for atoms in self.structures()[1:3]]

    def test_empty_file_is_refused(self, path: Path) -> None:
        """A file of no bytes is an error that names it."""
        path.write_bytes(b"")
        with pytest.raises(DataError, match=path.name):
            read_frames(path, **self.settings)

    def test_cut_file_is_refused(self, path: Path) -> None:
        """A file that ends in the middle of a frame is an error that names it, not a shorter file."""
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 9 // 10])
        with pytest.raises(DataError, match=path.name):
            read_frames(path, **self.settings)

    def test_file_of_another_kind_is_refused(self, path: Path) -> None:
        """Bytes that are nothing of the kind are an error that names the file."""
        path.write_bytes(bytes(range(256)) * 4)
        with pytest.raises(DataError, match=path.name):
            read_frames(path, **self.settings)
