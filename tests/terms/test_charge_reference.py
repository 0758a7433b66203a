"""Energies of charge states in a model: no forces, the same batched and alone, float64, and refused where unknown."""

from dataclasses import replace

import pytest
import torch
from ase import Atoms

from eqff.build import ModelContext, build_potential
from eqff.data.charge_reference import ChargeReference
from eqff.errors import ConfigError, ModelError
from eqff.testing.battery import LOCAL_ENERGY, MINIMAL_BACKBONE, PotentialBattery
from eqff.testing.graphs import graph_of

MODEL = {"backbone": MINIMAL_BACKBONE, "terms": {"local": LOCAL_ENERGY}}
CONTEXT = ModelContext((1, 8), {1: -13.605693122994, 8: -2041.8396277138})
OFFSETS = ChargeReference(offsets={-1: -1.25, 0: 0.0, 1: 11.123456789012})
IONS = ChargeReference(ions={1: {-1: -0.75, 1: 13.605}, 8: {-1: -1.46, 1: 13.618, 2: 48.73}})


class TestLinear(PotentialBattery):
    """The additive form passes the whole battery, size consistency included."""

    model = MODEL

    def context(self):
        return replace(super().context(), charge_reference=ChargeReference(slope=5.25))


def structure(symbols, charge):
    atoms = Atoms(symbols, [[1.3 * i, 0.2 * i * i, 0] for i in range(len(Atoms(symbols)))])
    electrons = int(atoms.numbers.sum()) - charge
    atoms.info.update(total_charge=charge, multiplicity=1 + electrons % 2)
    return atoms


def predict(reference, structures, dtype=torch.float64, **options):
    torch.manual_seed(0)
    potential = build_potential(MODEL, replace(CONTEXT, charge_reference=reference), dtype)
    potential.train(options.pop("train", False))
    return potential(graph_of(structures, potential.neighbour_lists, dtype), stress=True)


@pytest.mark.parametrize("reference", [OFFSETS, IONS, ChargeReference(slope=5.25)], ids=["offsets", "ions", "linear"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_only_energies_change(reference, dtype):
    structures = [structure("OH2", 1), structure("OH", -1), structure("O2", 0), structure("H", 1)]
    plain, shifted = predict(None, structures, dtype), predict(reference, structures, dtype)
    for name in ("forces", "stress", "virial", "energy_local"):
        assert torch.equal(plain[name], shifted[name])
    added = shifted["energy_charge_reference"]
    assert added.dtype == torch.float64 and added.abs().max() > 1
    assert torch.equal(shifted["energy"], plain["energy"] + added)
    alone = torch.cat([predict(reference, [one], dtype)["energy_charge_reference"] for one in structures])
    assert torch.equal(alone, added)


def test_training_and_evaluation_use_the_same():
    structures = [structure("OH2", 1), structure("OH", -1)]
    first, second = predict(OFFSETS, structures, train=True), predict(OFFSETS, structures)
    assert torch.equal(first["energy"], second["energy"])
    assert first["energy_charge_reference"].tolist() == [11.123456789012, -1.25]  # to the last digit


def test_isolated_ions_have_exactly_their_energies():
    structures = [structure("O", q) for q in (-1, 0, 1, 2)] + [structure("H", q) for q in (-1, 0, 1)]
    energies = predict(IONS, structures, torch.float32)["energy_charge_reference"]
    assert energies.tolist() == [-1.46, 0.0, 13.618, 48.73, -0.75, 0.0, 13.605]


def test_a_charge_state_without_energy_is_refused():
    with pytest.raises(ModelError, match=r"no reference energy for total charge \+2, only for -1, 0, \+1"):
        predict(OFFSETS, [structure("OH2", 0), structure("OH2", 2)])
    with pytest.raises(ModelError, match=r"total charge \+3"):
        predict(IONS, [structure("O", 3)])
    assert predict(ChargeReference(slope=1.5), [structure("OH2", 2)])["energy_charge_reference"].item() == 3.0


def test_the_term_alone_asks_for_data():
    term = {"_target_": "eqff.terms.charge_reference.ChargeReferenceEnergy"}
    with pytest.raises(ConfigError, match="data.charge_reference"):
        build_potential(MODEL | {"terms": MODEL["terms"] | {"charge_reference": term}}, CONTEXT)


def test_tables_keep_float64_through_changes_of_precision():
    potential = build_potential(MODEL, replace(CONTEXT, charge_reference=OFFSETS))
    tables = potential.half().float().terms["charge_reference"].tables
    assert tables.offset_energies.tolist() == [-1.25, 0.0, 11.123456789012]
    assert tables.offset_charges.dtype == torch.int64
