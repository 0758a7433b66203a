"""Fragments as input, and models that see each of them alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule as named

from eqff.build import ModelContext, build_potential
from eqff.data.atoms import from_atoms, to_atoms
from eqff.data.columns import Columns
from eqff.data.reading import read_frames
from eqff.errors import ConfigError, DataError, ModelError
from eqff.export.split import split
from eqff.testing.battery import MINIMAL_BACKBONE
from eqff.testing.graphs import graph_of
from eqff.units import COULOMB_CONSTANT

ELEMENTS = (1, 6, 7, 8)
CONTEXT = ModelContext(ELEMENTS, dict.fromkeys(ELEMENTS, 0.0), energy_scale=0.1)
STATED = {"_target_": "eqff.fragments.fragments.Fragments"}
PAIRS = {"_target_": "eqff.terms.fragment_pairs.FragmentPairs", "cutoff": 6.0, "hidden": 8, "degree": 1}
CHARGES = {"_target_": "eqff.heads.charges.Charges", "hidden": 8, "scale": 1.0}
COULOMB = {
    "_target_": "eqff.terms.multipoles.Multipoles",
    "dipoles": None,
    "quadrupoles": None,
    "groups": "molecules",
}
MODEL = {
    "fragments": STATED,
    "backbone": MINIMAL_BACKBONE,
    "heads": {"charges": CHARGES},
    "terms": {"multipoles": COULOMB, "pairs": PAIRS},
}


def potential_of(model=MODEL, dtype=torch.float64):
    torch.manual_seed(0)
    return build_potential(model, CONTEXT, dtype).eval()


def predict(potential, structures):
    return potential(graph_of(structures, potential.neighbour_lists, torch.float64))


def charged(atoms: Atoms, charge: int) -> Atoms:
    atoms.info.update(total_charge=charge, multiplicity=1)
    return atoms


def pair(distance: float = 3.0, first=("NH4", 1), second=("H2O", 0)) -> Atoms:
    """An ion and a molecule, atoms of both in turn."""
    one = Atoms("NH4", [[0, 0, 0], [0.6, 0.6, 0.6], [-0.6, -0.6, 0.6], [-0.6, 0.6, -0.6], [0.6, -0.6, -0.6]])
    other = named("H2O")
    other.positions += [distance, 0.3, -0.2]
    both = one + other
    both.arrays["fragment"] = np.repeat([0, 1], [5, 3])
    both.arrays["fragment_charge"] = np.repeat([1.0, 0.0], [5, 3])
    return charged(both[[0, 5, 1, 6, 2, 7, 3, 4]], 1)


def alone(both: Atoms, fragment: int) -> Atoms:
    chosen = both.arrays["fragment"] == fragment
    return charged(both[chosen], round(float(both.arrays["fragment_charge"][chosen][0])))


def test_nobody_sees_the_other_fragment():
    """Features and charges of both fragments of a pair are those of each of them alone, whatever the order of atoms."""
    potential = potential_of()
    both = [pair(1.8), pair(3.0)]
    found = predict(potential, both)
    for index, atoms in enumerate(both):
        for fragment in (0, 1):
            expected = predict(potential, [alone(atoms, fragment)])
            here = index * len(atoms) + np.flatnonzero(atoms.arrays["fragment"] == fragment)
            for name in ("features", "pass_scalars", "charges"):
                torch.testing.assert_close(found[name][here], expected[name], rtol=1e-12, atol=1e-12)
            assert float(expected["energy"].abs()) < 1e-13  # electrostatics within is added and taken away
    assert float(found["energy"].abs().min()) > 1e-3


def test_charges_add_up_in_each_fragment():
    found, both = predict(potential_of(), [pair()]), pair()
    for fragment, charge in ((0, 1.0), (1, 0.0)):
        total = float(found["charges"][both.arrays["fragment"] == fragment].sum())
        assert total == pytest.approx(charge, abs=1e-12)


def test_exchanging_fragments_changes_nothing():
    potential, both = potential_of(), pair()
    exchanged = both.copy()
    exchanged.arrays["fragment"] = 7 - 3 * both.arrays["fragment"]
    first, second = predict(potential, [both]), predict(potential, [exchanged])
    torch.testing.assert_close(second["energy"], first["energy"], rtol=1e-13, atol=0)
    torch.testing.assert_close(second["forces"], first["forces"], rtol=1e-10, atol=1e-13)


def test_beyond_the_pairs_only_electrostatics_is_left():
    """At 20 Å the energy is the plain sum of q q / r over atoms of both, and has almost gone at 2000 Å."""
    potential = potential_of()
    both = pair(20.0)
    found = predict(potential, [both, pair(2000.0)])
    assert found["energy_pairs"].tolist() == [0.0, 0.0]
    charges, number = found["charges"][: len(both)].detach().numpy(), both.arrays["fragment"]
    expected = sum(
        COULOMB_CONSTANT * charges[i] * charges[j] / both.get_distance(i, j)
        for i in np.flatnonzero(number == 0)
        for j in np.flatnonzero(number == 1)
    )
    assert float(found["energy"][0]) == pytest.approx(expected, rel=1e-9)
    assert abs(expected) > 1e-5 and abs(float(found["energy"][1])) < 1e-3 * abs(expected)  # an ion and a dipole: r⁻²


def test_more_than_two_fragments_have_the_sum_of_their_pairs():
    potential = potential_of()
    three = pair(3.0)
    third = named("CH4")
    third.positions += [0, 4.0, 0.5]
    third.arrays |= {"fragment": np.full(5, 2), "fragment_charge": np.zeros(5)}
    three = charged(three + third, 1)
    total = float(predict(potential, [three])["energy"])
    pairs = []
    for missing in range(3):
        part = three[three.arrays["fragment"] != missing]
        pairs.append(charged(part, 0 if missing == 0 else 1))
    assert total == pytest.approx(float(predict(potential, pairs)["energy"].sum()), rel=1e-10)


def test_pairs_between_molecules_beside_a_local_energy():
    """Without fragments apart: features see all atoms, and pairs are told by the molecules that bonds make."""
    local = {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 8}
    heads = {"molecules": {"_target_": "eqff.heads.molecules.Molecules"}}
    whole = {"backbone": MINIMAL_BACKBONE, "heads": heads, "terms": {"local": local, "pairs": PAIRS}}
    potential = potential_of(whole)
    found = predict(potential, [pair(2.5), alone(pair(), 1)])
    assert float(found["energy_pairs"][0]) != 0 == float(found["energy_pairs"][1])
    apart = predict(potential_of(), [pair(2.5)])["energy_pairs"]
    assert float((found["energy_pairs"][0] - apart).abs()) > 1e-6


def test_bonds_give_the_same_fragments(caplog):
    bonded = potential_of({**MODEL, "fragments": {**STATED, "source": "bonds"}})
    both = pair(3.0)
    expected = predict(potential_of(), [both])["energy"]
    del both.arrays["fragment"]
    torch.testing.assert_close(predict(bonded, [both])["energy"], expected, rtol=1e-12, atol=0)
    assert not caplog.records
    single = charged(named("H2O"), 0)
    predict(bonded, [both, single])
    predict(bonded, [both, single])
    assert [record.getMessage() for record in caplog.records] == [
        "By bonds, 1 of 2 structures of a batch are one fragment each."
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda atoms: atoms.arrays.pop("fragment"), "some structures state none"),
        (lambda atoms: atoms.arrays.pop("fragment_charge"), r"fragments, 0, 0, don't add up to its total charge, 1"),
        (lambda atoms: atoms.arrays["fragment_charge"].__setitem__(0, 0.0), "one whole number for all atoms"),
        (lambda atoms: atoms.info.update(multiplicity=3), "unpaired electrons in their lowest states"),
        (lambda atoms: atoms.set_pbc(True) or atoms.set_cell(np.eye(3) * 20), "not told from their images"),
    ],
    ids=["none", "charges", "inside", "spin", "periodic"],
)
def test_what_is_refused(change, message):
    both = pair()
    change(both)
    with pytest.raises(ModelError, match=message):
        predict(potential_of(), [pair(), both])


def test_ions_whose_charges_nobody_stated_are_noticed():
    """Ammonium formate-like pairs are neutral together; the odd electrons of neutral fragments give them away."""
    salt = charged(Atoms("NH4OH", np.random.default_rng(0).normal(scale=3.0, size=(7, 3))), 0)
    salt.arrays["fragment"] = np.repeat([0, 1], [5, 2])
    with pytest.raises(ModelError, match=r"1, 1 unpaired electrons.*Are fragments ions\?"):
        predict(potential_of(), [salt])


def test_parts_of_whole_structures_are_refused():
    dipole = {"_target_": "eqff.heads.dipole.Dipole", "atomic_dipoles": False}
    with pytest.raises(ModelError, match=r"'heads.dipole' writes 'dipole', which belongs to whole structures"):
        potential_of({**MODEL, "heads": {"charges": CHARGES, "dipole": dipole}})
    with pytest.raises(ConfigError, match="model.fragments.source is 'bond'"):
        potential_of({**MODEL, "fragments": {**STATED, "source": "bond"}})
    with pytest.raises(ModelError, match="can't be compiled"):
        potential_of().compile_training_step()
    with pytest.raises(ModelError, match="model.fragments can't be compiled"):
        split(potential_of())


def test_calculators_notice_other_fragments():
    atoms = pair()
    atoms.calc = potential_of().calculator()
    before = atoms.get_potential_energy()
    assert before == pytest.approx(float(predict(potential_of(), [pair()])["energy"]), rel=1e-12)
    atoms.arrays["fragment"] = np.zeros(len(atoms), dtype=int)
    atoms.arrays["fragment_charge"] = np.ones(len(atoms))
    assert abs(atoms.get_potential_energy()) < 1e-13 < abs(before)
    del atoms.arrays["fragment"]
    with pytest.raises(ModelError, match="some structures state none"):
        atoms.get_potential_energy()


def test_files_hold_fragments(tmp_path):
    both = pair()
    both.write(tmp_path / "pair.extxyz", format="extxyz")
    (frame,) = read_frames(tmp_path / "pair.extxyz", labels=())
    assert frame.fragment.dtype == torch.int64 and frame.fragment.tolist() == both.arrays["fragment"].tolist()
    assert frame.fragment_charge.tolist() == both.arrays["fragment_charge"].tolist()
    again = from_atoms(to_atoms(frame), labels=())
    assert torch.equal(again.fragment, frame.fragment) and torch.equal(again.fragment_charge, frame.fragment_charge)
    bare = from_atoms(charged(named("H2O"), 0), labels=())
    assert bare.fragment.tolist() == [-1] * 3 and "fragment" not in to_atoms(bare).arrays
    columns = Columns.of([frame, bare])
    assert columns.stated("fragment").tolist() == [True, False]
    both.arrays["fragment"] = both.arrays["fragment"] + 0.5
    with pytest.raises(DataError, match=r"'fragment' holds whole numbers, but here 0\.5"):
        from_atoms(both, labels=())


def test_names_of_fragments_are_to_be_numbered():
    atoms = pair()
    atoms.arrays["fragment"] = np.array(["ion", "water"])[atoms.arrays["fragment"]]
    with pytest.raises(DataError, match=r"(?s)'fragment' should be a number.*number them: np\.unique\(names"):
        from_atoms(atoms)
