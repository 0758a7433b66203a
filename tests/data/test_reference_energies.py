"""Reference energies: fitted, from isolated atoms, given."""

import ase.db
import numpy as np
import pytest
from ase import Atoms
from frames_on_file import methanes, waters, write_extxyz

from eqff.data.atoms import from_atoms
from eqff.data.energy_rows import EnergyRows
from eqff.data.reference_energies import reference_energies
from eqff.errors import ConfigError, DataError

TRUE = {1: -13.6, 6: -1029.4, 8: -2041.3}


def with_energies(atoms, offset=0.0):
    """Frames whose energies are sums of the true element energies, exactly."""
    frames = [from_atoms(one) for one in atoms]
    for frame in frames:
        frame.energy[:] = sum(TRUE[z] for z in frame.numbers.tolist()) + offset
    return frames


def single(symbol, energy, charge=0, multiplicity="lowest"):
    frame = from_atoms(Atoms(symbol, positions=[[0, 0, 0]]), total_charge=charge, multiplicity=multiplicity)
    frame.energy = frame.total_charge * 0 + energy
    return frame


def test_least_squares_recovers_the_energies_where_compositions_determine_them():
    frames = with_energies([*waters(2), *methanes(2)])
    hydrogen = Atoms("H2", [[0, 0, 0], [0, 0, 0.7]], info={"charge": 0, "spin": 1, "energy": 2 * TRUE[1]})
    frames.append(from_atoms(hydrogen))
    found = reference_energies("least_squares", frames)
    assert found.energies == pytest.approx(TRUE, rel=1e-10)
    assert not any("determine only" in note for note in found.notes)


def test_one_composition_alone_is_fitted_exactly_and_said_to_mean_nothing():
    frames = with_energies(waters(5))
    found = reference_energies("least_squares", frames)
    assert np.abs(found.above(EnergyRows.of(frames))).max() < 1e-9
    assert any("determine only 1 of 2 energies (H, O)" in note for note in found.notes)


def test_energies_of_many_thousand_electronvolts_keep_their_digits():
    frames = with_energies([*waters(3), *methanes(3)], offset=1e-4)
    found = reference_energies("least_squares", frames)
    above = found.above(EnergyRows.of(frames))
    assert np.abs(above).max() < 1e-4


def test_isolated_atoms_are_the_lowest_neutral_ones():
    frames = [*with_energies(waters(2)), single("H", -13.0), single("H", -13.6), single("O", -2041.3, multiplicity=3)]
    frames += [single("O", -2039.0, multiplicity=1), single("H", -99.0, charge=-1)]
    assert reference_energies("isolated_atoms", frames).energies == {1: -13.6, 8: -2041.3}


def test_missing_isolated_atoms_are_named():
    with pytest.raises(DataError, match="H missing, there are only O.*least_squares"):
        reference_energies("isolated_atoms", [*with_energies(waters(2)), single("O", -2041.3)])


def test_a_file_of_isolated_atoms_needs_no_charge_or_multiplicity(tmp_path):
    elements = {"H": 1, "O": 8, "C": 6}
    atoms = [Atoms(symbol, positions=[[0, 0, 0]], info={"E": TRUE[z] / 2}) for symbol, z in elements.items()]
    path = write_extxyz(tmp_path / "atoms.extxyz", atoms)
    found = reference_energies(str(path), with_energies(waters(2)), keys={"E": "energy"}, units={"energy": "Ry"})
    assert found.energies == pytest.approx({z: TRUE[z] / 2 * 13.605693123 for z in (1, 8)}, rel=1e-9)


def test_a_file_of_isolated_atoms_in_units_of_its_own(tmp_path):
    """Units that a file states hold for its atoms as for any structures; where none are known, none are guessed."""
    with ase.db.connect(tmp_path / "atoms.db") as database:
        database.metadata = {"_property_unit_dict": {"energy": "Hartree"}, "_distance_unit": "Ang"}
        for symbol, energy in (("H", -0.5), ("O", -75.0)):
            database.write(Atoms(symbol), data={"energy": energy})
    found = reference_energies(str(tmp_path / "atoms.db"), with_energies(waters(2)))
    assert found.energies == pytest.approx({1: -0.5 * 27.211386246, 8: -75.0 * 27.211386246}, rel=1e-9)
    np.savez(tmp_path / "atoms.npz", R=np.zeros((2, 1, 3)), z=np.array([[1], [8]]), E=np.array([-13.6, -2041.0]))
    with pytest.raises(DataError, match="unit of 'E' is nowhere stated"):
        reference_energies(str(tmp_path / "atoms.npz"), with_energies(waters(2)))
    found = reference_energies(str(tmp_path / "atoms.npz"), with_energies(waters(2)), units={"energy": "eV"})
    assert found.energies == {1: -13.6, 8: -2041.0}


def test_a_file_of_molecules_is_refused(tmp_path):
    path = write_extxyz(tmp_path / "waters.extxyz", waters(1))
    with pytest.raises(DataError, match="need one atom and an energy"):
        reference_energies(str(path), with_energies(waters(2)))


def test_given_energies():
    frames = with_energies(waters(2))
    found = reference_energies({"H": -13.6, "8": -2041.3, "C": 0.0}, frames)
    assert found.energies == {1: -13.6, 8: -2041.3}
    with pytest.raises(DataError, match="O missing"):
        reference_energies({"H": -13.6}, frames)
    with pytest.raises(ConfigError, match="'Hy' is no element"):
        reference_energies({"Hy": -13.6}, frames)


def test_data_without_energies():
    frames = [from_atoms(atoms, labels=("forces",)) for atoms in waters(2)]
    with pytest.raises(DataError, match="no frame has an energy.*data.reference_energies=none"):
        reference_energies("least_squares", frames)
    assert reference_energies({"H": 0.0, "O": 0.0}, frames).energies == {1: 0.0, 8: 0.0}


def test_composition():
    frames = with_energies([*waters(1), *methanes(1)])
    rows = EnergyRows.of(frames)
    assert rows.counts[:, [1, 6, 8]].tolist() == [[2, 0, 1], [4, 1, 0]] and rows.sizes.tolist() == [3, 5]
