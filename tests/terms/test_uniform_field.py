"""Charges and dipoles in an external field: the battery in a field, and derivatives by it."""

from dataclasses import replace

import pytest
import torch

from eqff.build import build_potential
from eqff.data.fields import FIELDS
from eqff.errors import ConfigError, ModelError
from eqff.response.from_energy import energy_response
from eqff.testing.battery import LOCAL_ENERGY, MINIMAL_BACKBONE, TermBattery
from eqff.testing.compare import assert_close
from eqff.testing.frames import random_orthogonal, turn_field
from eqff.testing.structures import molecule, slab, transformed
from eqff.units import COULOMB_CONSTANT

CHARGES = {"_target_": "eqff.heads.charges.Charges", "hidden": 8}
DIPOLES = {"_target_": "eqff.heads.multipoles.AtomicDipoles", "hidden": 8}
QEQ = {"_target_": "eqff.heads.charge_equilibration.ChargeEquilibration", "hidden": 8, "max_width": 1.2, "cutoff": 6.5}
BORN = {"_target_": "eqff.heads.born_charges.DipoleAndBornCharges", "atomic_dipoles": False}
FIELD = {"_target_": "eqff.terms.uniform_field.UniformField"}
EQUILIBRATION = {"_target_": "eqff.terms.field_energy.FieldEnergy"}
PERMANENT = {
    "backbone": MINIMAL_BACKBONE,
    "heads": {"charges": CHARGES, "dipoles": DIPOLES, "total": {**BORN, "include": ["atomic_dipoles"]}},
    "terms": {"local": LOCAL_ENERGY, "field": {**FIELD, "dipoles": "atomic_dipoles"}},
}
EQUILIBRATED = {
    "backbone": MINIMAL_BACKBONE,
    "heads": {"charges": QEQ, "total": BORN},
    "terms": {"local": LOCAL_ENERGY, "equilibration": EQUILIBRATION},
}
INDUCED = {
    "backbone": MINIMAL_BACKBONE,
    "heads": {
        "charges": CHARGES,
        "dipoles": DIPOLES,
        "alpha": {"_target_": "eqff.heads.polarizabilities.Polarizabilities", "hidden": 8},
        "molecular": {"_target_": "eqff.heads.molecular_polarizability.MolecularPolarizability"},
        "total": {**BORN, "include": ["atomic_dipoles", "induced_dipoles"]},
    },
    "terms": {
        "local": LOCAL_ENERGY,
        "field": {**FIELD, "dipoles": "atomic_dipoles"},
        "induction": {"_target_": "eqff.terms.induction.Induction", "dipoles": "atomic_dipoles"},
    },
}


class TestBatteryWithoutAField(TermBattery):
    """Where no structure is in a field, periodic ones included, nothing is added."""

    model = PERMANENT

    def test_supercell(self):
        pytest.skip("Born charges of a small cell")

    def test_adds_nothing(self):
        found = self.predict(self.potential(), list(self.structures().values()))
        assert not bool(found["energy_field"].any())


def _graph(potential, structures, field=None):
    battery = TermBattery()
    graph = battery.graph(potential, structures)
    if field is not None:
        graph = replace(graph, electric_field=torch.as_tensor(field, dtype=torch.float64))
    return graph


def _potential(model):
    battery = TermBattery()
    torch.manual_seed(0)
    return build_potential(model, battery.context(), torch.float64).eval()


OPEN = [molecule(1), molecule(2, 6, total_charge=1), molecule(4, 3, total_charge=-1)]
STRENGTHS = [[0.3, -0.2, 0.5], [0.0, 0.0, 0.0], [-0.4, 0.1, 0.2]]


@pytest.mark.parametrize("model", [PERMANENT, EQUILIBRATED, INDUCED], ids=["permanent", "equilibrated", "induced"])
def test_energy_and_moments_agree(model):
    """-dE/dF is the dipole that the heads give, and -d²E/dr dF are its derivatives by positions."""
    potential = _potential(model)
    graph = _graph(potential, OPEN, STRENGTHS)
    found, prediction = energy_response(potential, graph), potential(graph)
    torch.testing.assert_close(found.dipole, prediction["dipole"], rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(found.born_charges, prediction["born_charges"], rtol=1e-8, atol=1e-9)


def test_polarizability_of_equilibrated_charges():
    """-d²E/dF² against finite differences of the dipole; positive, as for any energy that is minimised."""
    potential, step = _potential(EQUILIBRATED), 1e-3
    found = energy_response(potential, _graph(potential, OPEN)).polarizability
    for b in range(3):
        dipoles = []
        for sign in (1, -1):
            field = torch.zeros(len(OPEN), 3, dtype=torch.float64)
            field[:, b] = sign * step
            dipoles.append(potential(_graph(potential, OPEN, field))["dipole"])
        slope = COULOMB_CONSTANT * (dipoles[0] - dipoles[1]) / (2 * step)
        torch.testing.assert_close(found[:, :, b], slope, rtol=1e-6, atol=1e-7)
    assert float(torch.linalg.eigvalsh(found).min()) > -1e-9


def test_polarizability_of_induced_dipoles():
    """-d²E/dF² is the response of interacting atoms that the head solves for."""
    potential = _potential(INDUCED)
    graph = _graph(potential, OPEN)
    found = energy_response(potential, graph).polarizability
    torch.testing.assert_close(found, potential(graph)["polarizability"], rtol=1e-8, atol=1e-9)


def test_permanent_moments_have_no_polarizability():
    fixed = energy_response(_potential(PERMANENT), _graph(_potential(PERMANENT), OPEN))
    assert not bool(fixed.polarizability.any())


@pytest.mark.parametrize("model", [PERMANENT, EQUILIBRATED, INDUCED], ids=["permanent", "equilibrated", "induced"])
def test_turns_with_structure_and_field(model):
    potential, matrix = _potential(model), random_orthogonal(5, reflect=True)
    field = torch.tensor(STRENGTHS, dtype=torch.float64)
    before = potential(_graph(potential, OPEN, field))
    turned = turn_field(field, FIELDS["electric_field"], matrix)
    after = potential(_graph(potential, [transformed(atoms, matrix) for atoms in OPEN], turned))
    for name in ("energy", "forces", "dipole", "born_charges"):
        row = FIELDS[name]
        assert_close(after[name], turn_field(before[name], row, matrix), 1e-10, name)


def test_forces_in_a_field():
    """What the field adds to the forces is F·Z, for ions too, whose energy depends on the origin."""
    potential = _potential(PERMANENT)
    field = torch.tensor(STRENGTHS, dtype=torch.float64)
    inside, outside = potential(_graph(potential, OPEN, field)), potential(_graph(potential, OPEN))
    added = torch.einsum("nab,nb->na", outside["born_charges"], field[_graph(potential, OPEN).batch])
    torch.testing.assert_close(inside["forces"] - outside["forces"], added, rtol=1e-9, atol=1e-10)


def test_a_field_along_a_lattice_vector_is_refused():
    potential, atoms = _potential(PERMANENT), slab(3)
    normal = torch.linalg.cross(*torch.as_tensor(atoms.cell.array[:2])) / 10
    across = potential(_graph(potential, [atoms], normal[None]))
    assert float(across["energy_field"].abs()) > 1e-3  # across a slab it is defined
    with pytest.raises(ModelError, match="along a lattice vector"):
        potential(_graph(potential, [atoms], [[0.1, 0.0, 0.0]]))
    with pytest.raises(ModelError, match="derivative by a uniform field"):
        energy_response(potential, _graph(potential, [atoms]))


def test_models_without_a_reader_refuse_fields():
    model = {"backbone": MINIMAL_BACKBONE, "terms": {"local": LOCAL_ENERGY}}
    potential = _potential(model)
    with pytest.raises(ModelError, match="No energy of this model follows from the external field"):
        potential(_graph(potential, OPEN, STRENGTHS))
    with pytest.raises(ModelError, match="No energy of this model follows from the external field"):
        energy_response(potential, _graph(potential, OPEN))


def test_a_field_on_nothing_is_refused():
    with pytest.raises(ConfigError, match="act on nothing"):
        _potential({**PERMANENT, "terms": {"field": {**FIELD, "charges": None}}})


def test_fixed_charges_without_a_field_have_no_forces():
    charges = {"_target_": "eqff.heads.formal_charges.FormalCharges", "charges": {1: 0.1, 6: 0.0, 7: 0.0, 8: 0.0}}
    potential = _potential({"heads": {"charges": {**charges, "require_total": False}}, "terms": {"field": FIELD}})
    prediction = potential(_graph(potential, [molecule(1)]), stress=True)
    assert not prediction["forces"].any() and not prediction["virial"].any()
