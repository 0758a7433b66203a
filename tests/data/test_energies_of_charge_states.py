"""Reference energies of charge states: given, fitted, from isolated ions; in memory and chunk by chunk."""

from itertools import combinations_with_replacement, product

import numpy as np
import pytest
import torch
from ase import Atoms
from frames_on_file import waters, write_extxyz

from eqff.data.atoms import from_atoms
from eqff.data.charge_reference import ChargeReference, charge_energy
from eqff.data.energy_rows import WIDTH, EnergyRows
from eqff.data.isolated_atoms import charges_to_energies
from eqff.data.reference_energies import reference_energies, reference_from_rows
from eqff.data.reference_set import require_charge_references
from eqff.errors import ConfigError, DataError

TRUE = {1: -13.6, 6: -1029.4, 8: -2041.3}
IONS = {1: {-1: -0.75, 1: 13.6}, 6: {-1: -1.26, 1: 11.26, 2: 35.64}, 8: {-1: -1.46, 1: 13.62, 2: 48.74}}


def frame(symbols, charge=0, energy=None, source="a.xyz"):
    atoms = Atoms(symbols, [[1.5 * i, 0, 0] for i in range(len(Atoms(symbols)))])
    made = from_atoms(atoms, total_charge=charge, multiplicity="lowest")
    made.energy = torch.tensor([np.nan if energy is None else energy], dtype=torch.float64)
    made.source = source
    return made


def atoms_energy(symbols):
    return sum(TRUE[z] for z in Atoms(symbols).numbers.tolist())


MOLECULES = ("H2", "OH", "OH2", "CH4", "CO", "CO2", "CH2O", "O2", "C2H2")


def set_with(shift, charges=(-1, 0, 1), noise=0.0):
    rng = np.random.default_rng(0)
    pairs = product(MOLECULES, charges)
    return [frame(s, q, atoms_energy(s) + shift(q) + noise * rng.normal()) for s, q in pairs]


def test_offsets_are_recovered():
    shift = {-2: -1.5, -1: -2.25, 0: 0.0, 1: 9.75, 2: 30.0}
    found = reference_energies("least_squares", set_with(shift.get, shift), charge="offsets")
    assert found.energies == pytest.approx(TRUE, rel=1e-10)
    assert found.charge.offsets == pytest.approx(shift, abs=1e-8)
    assert "total charge +2" in [row[0] for row in found.charge.describe()]
    assert np.abs(found.above(EnergyRows.of(set_with(shift.get, shift)))).max() < 1e-9


def test_slope_is_recovered_and_additive():
    found = reference_energies("least_squares", set_with(lambda q: 4.5 * q), charge="linear")
    assert found.charge.slope == pytest.approx(4.5, abs=1e-9) and found.energies == pytest.approx(TRUE, rel=1e-10)
    rows = EnergyRows.of([frame("OH", -1), frame("H", 1), frame("OH2", 0)])
    parts = found.of(rows)
    assert parts[0] + parts[1] == pytest.approx(parts[2], abs=1e-9)


def test_without_them_nothing_depends_on_the_charge():
    found = reference_energies("least_squares", set_with(lambda q: 4.5 * q * q))
    assert found.charge is None
    assert np.ptp(found.of(EnergyRows.of([frame("OH2", q) for q in (-1, 0, 1)]))) == 0


def test_charges_without_a_neutral_state_count_from_the_nearest():
    found = reference_energies("least_squares", set_with({1: 0.0, 2: 5.0}.get, charges=(1, 2)), charge="offsets")
    assert found.charge.offsets[1] == 0.0 and found.charge.offsets[2] == pytest.approx(5.0, abs=1e-8)


def test_offsets_are_fitted_beside_given_atoms_too():
    """Bonds, which isolated atoms leave over, do not end up in the offsets."""
    frames = set_with(lambda q: 9.0 * (q == 1))
    for one in frames:
        one.energy -= 4.0 * one.num_nodes
    found = reference_energies({"H": -13.6, "C": -1029.4, "O": -2041.3}, frames, charge="offsets")
    assert found.energies == pytest.approx(TRUE)
    assert found.charge.offsets == pytest.approx({-1: 0.0, 0: 0.0, 1: 9.0}, abs=1e-8)


def test_given_offsets():
    frames = set_with(lambda q: 0.0)
    found = reference_energies("least_squares", frames, charge={"1": 9.5, -1: -2})
    assert found.charge.offsets == {0: 0.0, 1: 9.5, -1: -2.0}
    with pytest.raises(ConfigError, match="charge_reference.*all numbers"):
        reference_energies("least_squares", frames, charge={"+": 9.5})


@pytest.mark.parametrize("word", ["offset", "lineer", "true"])
def test_misspelt_choice(word):
    with pytest.raises(ConfigError, match=f"charge_reference can't be '{word}'.*Known: isolated_ions, linear, offsets"):
        reference_energies("least_squares", set_with(lambda q: 0.0), charge=word)


def brute_force(symbols, charge):
    """The lowest energy of separated atoms over every way to share out a charge."""
    options = [{0: 0.0, **IONS[z]} for z in Atoms(symbols).numbers.tolist()]
    totals = [
        sum(table[q] for table, q in zip(options, shared, strict=True))
        for shared in product(*options)
        if sum(shared) == charge
    ]
    return min(totals)


@pytest.mark.parametrize("charge", [-2, -1, 0, 1, 2, 3])
def test_charges_of_separated_atoms_are_where_they_cost_least(charge):
    tables = ChargeReference(ions=IONS).tensors()
    for atoms in combinations_with_replacement("HCO", 3):
        symbols = "".join(atoms)
        counts = torch.zeros(1, WIDTH)
        for z in Atoms(symbols).numbers.tolist():
            counts[0, z] += 1
        found = charge_energy(tables, torch.tensor([float(charge)]), counts).item()
        assert found == pytest.approx(brute_force(symbols, charge), abs=1e-12)


def test_a_charge_that_no_atom_can_take_has_no_energy():
    tables = ChargeReference(ions={1: {1: 13.6}}).tensors()
    counts = torch.zeros(2, WIDTH)
    counts[:, 1] = 2
    found = charge_energy(tables, torch.tensor([2.0, 3.0]), counts)
    assert found[0].item() == pytest.approx(27.2) and found[1].isnan()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({8: {2: 48.7}}, "charges .0, 2. leave some out"),
        ({8: {1: 13.6, 2: 20.0}}, "every electron taken has to cost more"),
        ({8: {1: 13.6, -1: 20.0, -2: 10.0}}, "every electron taken has to cost more"),
        ({8: {1: float("nan")}}, "finite"),
    ],
)
def test_impossible_ions(table, message):
    with pytest.raises(ConfigError, match=message):
        ChargeReference(ions=table)


def test_a_table_of_ions_is_used():
    table = {"H": {0: -13.6, "1": 0.0}, "O": {0: -2041.3, 1: -2027.68, -1: -2042.76}}
    frames = [frame("OH2", q, atoms_energy("OH2")) for q in (-1, 0, 1)]
    found = reference_energies(table, frames)
    singles = EnergyRows.of([frame("O", -1), frame("O", 0), frame("O", 1), frame("H", 1)])
    assert found.of(singles) == pytest.approx([-2042.76, -2041.3, -2027.68, 0.0], abs=1e-9)
    assert found.energies == {1: -13.6, 8: -2041.3}


def test_ions_among_the_frames_and_in_a_file(tmp_path):
    singles = {("H", 0): -13.6, ("O", 0): -2041.3, ("O", 1): -2027.7, ("O", -1): -2042.8}
    frames = [frame("OH2", 0, -2070.0), *(frame(s, q, e) for (s, q), e in singles.items())]
    among = reference_energies("isolated_atoms", frames, charge="isolated_ions")
    images = [Atoms(s, [[0, 0, 0]], info={"energy": e, "charge": q}) for (s, q), e in singles.items()]
    path = write_extxyz(tmp_path / "atoms.extxyz", images)
    filed = reference_energies(str(path), frames, charge="isolated_ions")
    for found in (among, filed):
        assert found.charge.ions == {8: {1: pytest.approx(13.6), -1: pytest.approx(-1.5)}}
    assert reference_energies("isolated_atoms", frames).charge is None  # only if asked for


def test_ions_need_atoms_to_count_from():
    frames = [frame("OH2", 0, -2070.0), frame("H", 0, -13.6), frame("O", 0, -2041.3)]
    with pytest.raises(ConfigError, match="isolated_ions takes ions from where the atoms come from"):
        reference_energies("least_squares", frames, charge="isolated_ions")
    with pytest.raises(DataError, match="hold no ion"):
        reference_energies("isolated_atoms", frames, charge="isolated_ions")


def test_sets_with_charges_that_training_never_saw():
    found = reference_energies("least_squares", set_with(lambda q: 1.0 * q), charge="offsets")
    with pytest.raises(DataError, match=r"test: 2 frames .b.xyz. have total charge \+2, for which.*linear or null"):
        require_charge_references(found, EnergyRows.of([frame("OH2", q, source="b.xyz") for q in (0, 2, 2)]), "test")


@pytest.mark.parametrize("charge", [None, "linear", "offsets"])
@pytest.mark.parametrize("molecules", [MOLECULES, ("OH2",)], ids=["determined", "one composition"])
def test_chunks_in_any_order_give_the_fit_of_all(charge, molecules):
    rng = np.random.default_rng(3)
    frames = [
        frame(s, q, atoms_energy(s) + 5.0 * q + rng.normal(), source=f"{i % 3}.xyz")
        for i, (s, q) in enumerate(product(molecules * 6, (-1, 0, 1)))
    ]
    whole = reference_energies("least_squares", frames, charge=charge)
    order = rng.permutation(len(frames))
    bounds = [0, 1, 2, 9, len(frames)]
    chunks = [EnergyRows.of([frames[i] for i in order[a:b]]) for a, b in zip(bounds, bounds[1:], strict=False)]
    pieces = reference_from_rows("least_squares", lambda: chunks, charge=charge)
    assert pieces.energies == pytest.approx(whole.energies, rel=1e-11)
    assert [note.split(", over")[0] for note in pieces.notes] == [note.split(", over")[0] for note in whole.notes]
    assert np.abs(pieces.of(EnergyRows.of(frames)) - whole.of(EnergyRows.of(frames))).max() < 1e-8
    # and both are what one least-squares solve of all rows gives
    rows = EnergyRows.of(frames)
    elements = sorted(whole.energies)
    matrix = rows.counts[:, elements].astype(float)
    if charge == "linear":
        matrix = np.column_stack([matrix, rows.charges])
    if charge == "offsets":
        matrix = np.column_stack([matrix, rows.charges == -1, rows.charges == 1])
    solution, _, rank, _ = np.linalg.lstsq(matrix / rows.sizes[:, None], rows.energies / rows.sizes, rcond=None)
    assert solution[: len(elements)] == pytest.approx([whole.energies[z] for z in elements], rel=1e-10)
    assert any("determine only" in note for note in whole.notes) == (rank < matrix.shape[1])


def test_digits_survive_thousands_of_chunks():
    """Energies of 1e4 eV, fitted to 1e-7: normal equations would lose them."""
    frames = set_with(lambda q: 1e-5 * q)
    rows = EnergyRows.of(frames)
    found = reference_from_rows("least_squares", lambda: (rows for _ in range(300)), charge="linear")
    assert found.charge.slope == pytest.approx(1e-5, abs=1e-8)


def test_waters_from_a_file_are_as_before():
    frames = [from_atoms(atoms) for atoms in waters(5)]
    found = reference_energies("least_squares", frames)
    assert found.notes[0].startswith("energies lie") and found.level == "" and found.level_offsets == {}


def test_charges_between_whole_ones_are_refused():
    """Rounded in silence, the energy would become that of another state."""
    with pytest.raises(ConfigError, match="1.5 is no whole charge"):
        charges_to_energies({0: 0.0, 1.5: 3.0}, "charge_reference")
