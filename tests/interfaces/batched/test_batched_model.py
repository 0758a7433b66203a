"""A batch that moves gives what the calculator gives for each of its structures alone."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from eqff.errors import DataError, ModelError
from eqff.interfaces.batched.model import BatchedModel
from eqff.interfaces.batched.states import BatchStates
from eqff.interfaces.torch_sim import structures_of
from eqff.testing.stack import charged_stack
from eqff.testing.structures import crystal, molecule, slab


def tensors(structures, dtype=torch.float64):
    return {
        "numbers": torch.tensor(np.concatenate([atoms.numbers for atoms in structures])),
        "positions": torch.tensor(np.concatenate([atoms.positions for atoms in structures]), dtype=dtype),
        "cell": torch.tensor(np.stack([atoms.cell.array for atoms in structures]), dtype=dtype),
        "pbc": torch.tensor(np.stack([atoms.pbc for atoms in structures])),
        "batch": torch.repeat_interleave(torch.tensor([len(atoms) for atoms in structures])),
    }


def batched(potential, structures, **settings):
    return BatchedModel(potential, BatchStates(None, None, structures), 0.5, **{"outside": "allow", **settings})


def test_every_structure_as_alone_while_all_move():
    potential = charged_stack()
    structures = [molecule(1), crystal(2), molecule(3, 5, total_charge=-1), slab(4), molecule(5, 1, total_charge=1)]
    structures.append(slab(4))
    structures[-1].center(vacuum=6.0, axis=int(np.flatnonzero(~slab(4).pbc)[0]))  # has a stress
    model, calculator, rng = batched(potential, structures), potential.calculator(), np.random.default_rng(0)
    for _ in range(4):
        found = model(tensors(structures), forces=True, stress=True)
        split = torch.split(found["forces"], [len(atoms) for atoms in structures])
        charges = torch.split(found["charges"], [len(atoms) for atoms in structures])
        for number, atoms in enumerate(structures):
            atoms.calc = calculator
            assert float(found["energy"][number]) == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
            np.testing.assert_allclose(split[number], atoms.get_forces(), atol=1e-9)
            np.testing.assert_allclose(charges[number], atoms.get_charges(), atol=1e-10)
            if atoms.cell.rank == 3:
                np.testing.assert_allclose(found["stress"][number], atoms.get_stress(voigt=False), atol=1e-10)
        for atoms in structures:
            atoms.positions += 0.05 * rng.standard_normal(atoms.positions.shape)
        structures[1].wrap()
        structures[1].set_cell(structures[1].cell * 1.002, scale_atoms=True)


def test_structures_leave_and_come():
    potential = charged_stack()
    first, second, third = molecule(1), molecule(3, 5, total_charge=-1), crystal(2)
    model = batched(potential, [first, second, third])
    whole = model(tensors([first, second, third]), forces=False, stress=False)["energy"]
    less = model(tensors([third, second]), forces=False, stress=False)["energy"]
    torch.testing.assert_close(less, whole[[2, 1]], rtol=0, atol=1e-9)


def test_what_is_wrong_is_said():
    potential, atoms = charged_stack(), molecule(1)
    with pytest.raises(ModelError, match="computes in torch.float64 on cpu, but positions are torch.float32"):
        batched(potential, [atoms])(tensors([atoms], torch.float32), forces=True, stress=False)
    with pytest.raises(DataError, match="impossible for"):
        BatchedModel(potential, BatchStates(0, 1.5), 0.5, "allow")(tensors([atoms]), forces=True, stress=False)
    foreign = atoms.copy()
    foreign.numbers[0] += 10
    with pytest.raises(ModelError, match="does not know"):
        BatchedModel(potential, BatchStates(0, "lowest"), 0.5, "allow")(tensors([foreign]), forces=True, stress=False)
    atoms.positions[0, 0] = np.nan
    with pytest.raises(DataError, match="not finite"):
        batched(potential, [molecule(1)])(tensors([atoms]), forces=True, stress=False)


def test_states_that_the_batch_says_itself():
    potential = charged_stack()
    structures = [molecule(1), molecule(3, 5, total_charge=-1)]
    given = batched(potential, structures)(tensors(structures), forces=False, stress=False)["energy"]
    said = {name: torch.tensor([float(a.info[name]) for a in structures]) for name in ("total_charge", "multiplicity")}
    model = BatchedModel(potential, BatchStates(None, None), 0.5, "allow")
    torch.testing.assert_close(model(tensors(structures) | said, forces=False, stress=False)["energy"], given)
    said["total_charge"][1] += 2.0  # in place
    other = model(tensors(structures) | said, forces=False, stress=False)["energy"]
    assert other[0] == given[0] and other[1] != given[1]
    with pytest.raises(ModelError, match="total_charge=1, but atoms.info says 0"):
        BatchedModel(potential, BatchStates(1, None), 0.5, "allow")(
            tensors(structures) | said, forces=True, stress=False
        )


def test_nothing_is_guessed():
    structures = [molecule(1)]
    for charge, multiplicity, missing in ((None, 1, "total charge"), (0, None, "multiplicity")):
        model = BatchedModel(charged_stack(), BatchStates(charge, multiplicity), 0.5, "allow")
        with pytest.raises(DataError, match=f"{missing}.* is nowhere given for structure 0"):
            model(tensors(structures), forces=True, stress=False)


def test_states_by_the_names_that_info_has():
    potential = charged_stack()
    structures = [molecule(1), molecule(3, 5, total_charge=-1)]
    given = batched(potential, structures)(tensors(structures), forces=False, stress=False)["energy"]
    charge, spin = (torch.tensor([a.info[name] for a in structures]) for name in ("total_charge", "multiplicity"))
    said = tensors(structures) | {"charge": charge, "spin": spin}
    model = BatchedModel(potential, BatchStates(None, None), 0.5, "allow")
    torch.testing.assert_close(model(said, forces=False, stress=False)["energy"], given)
    with pytest.raises(ModelError, match="total_charge=0, but atoms.info says -1"):
        BatchedModel(potential, BatchStates(0, None), 0.5, "allow")(said, forces=False, stress=False)


def test_states_in_the_extras_of_torch_sim():
    """Those that somebody put there; what torch-sim itself has by default says nothing."""
    one = {"positions": torch.zeros(1, 3), "cell": torch.eye(3)[None], "pbc": False, "system_idx": None}
    one["atomic_numbers"] = torch.tensor([8])
    extras = {"charge": torch.tensor([-1.0]), "mult": torch.tensor([2.0])}
    assert {"charge", "mult"} <= structures_of(one | extras).keys()
    found = structures_of(SimpleNamespace(**one, **extras, _system_extras={"mult": extras["mult"]}))
    assert "mult" in found and "charge" not in found
