"""Populations of least energy as a head: the battery, charge equilibration as a special case, given populations."""

from dataclasses import replace

import pytest
import torch

from eqff.data.external import ExternalCharges
from eqff.errors import ModelError
from eqff.heads.charge_equilibration import ChargeEquilibration
from eqff.heads.populations import Populations
from eqff.testing.battery import LOCAL_ENERGY, MINIMAL_BACKBONE, PotentialBattery
from eqff.testing.graphs import graph_of
from eqff.testing.structures import molecule, one_of_each
from eqff.units import COULOMB_CONSTANT

TARGET = "eqff.heads.populations.Populations"


class PopulationChecks(PotentialBattery):
    head = {"_target_": TARGET, "hidden": 4, "units": 3, "max_width": 0.8, "accuracy": 1e-12, "spin": True}

    @property
    def model(self):
        terms = {"local": LOCAL_ENERGY, "equilibration": {"_target_": "eqff.terms.field_energy.FieldEnergy"}}
        return {"backbone": MINIMAL_BACKBONE, "heads": {"charges": self.head}, "terms": terms}

    def test_far_fragments_add_up(self) -> None:
        pytest.skip("charge moves between fragments however far apart they are, unless their energies have gaps")


class TestConvex(PopulationChecks):
    pass


@pytest.mark.slow
class TestChargesAlone(PopulationChecks):
    head = {**PopulationChecks.head, "spin": False, "neighbours": 0}


@pytest.mark.slow
class TestGeneral(PopulationChecks):
    head = {**PopulationChecks.head, "network": "general", "spin_hardness": 8.0}


@pytest.mark.slow
class TestIterative(PopulationChecks):
    head = {**PopulationChecks.head, "dense_up_to": 1, "tolerance": 1e-13}


SIZES = {"channels": 4, "num_passes": 2, "elements": (1, 6, 7, 8)}


def inputs(head, structures, seed=0):
    graph = graph_of(structures, {**head.neighbour_lists, "local": 4.0}, torch.float64)
    generator = torch.Generator().manual_seed(seed)
    return graph, {"pass_scalars": torch.randn(graph.num_atoms, 2, 4, generator=generator, dtype=torch.float64)}


def test_without_units_it_is_charge_equilibration():
    torch.manual_seed(0)
    mine, theirs = (
        kind(**SIZES, **more).double() for kind, more in ((Populations, {"units": 0}), (ChargeEquilibration, {}))
    )
    mine.load_state_dict(theirs.state_dict())
    graph, fields = inputs(mine, list(one_of_each().values()))
    found, expected = mine(graph, fields), theirs(graph, fields)
    for name in ("charges", "equilibration_energy"):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-10, atol=1e-10)


def test_given_populations_have_the_higher_energy():
    torch.manual_seed(1)
    head = Populations(**SIZES, spin=True).double()
    graph, fields = inputs(head, list(one_of_each().values()))
    totals, found = head.totals(graph), head(graph, fields)
    charges, spins = found["charges"], found["spin_charges"]
    least = head.energy_at(graph, fields, charges, spins)
    torch.testing.assert_close(least, found["equilibration_energy"], rtol=1e-12, atol=1e-10)
    moved = torch.stack([charges, spins], dim=1) + totals.centred(torch.randn(graph.num_atoms, 2).double())
    several = torch.bincount(graph.batch) > 1
    assert bool((head.energy_at(graph, fields, *moved.unbind(1)) > least)[several].all())


def test_spins_must_fit_the_energy():
    for spin in (True, False):
        head = Populations(**SIZES, spin=spin).double()
        graph, fields = inputs(head, [molecule(1, 3)])
        zeros = torch.zeros(3, dtype=torch.float64)
        with pytest.raises(ModelError, match="spin_charges"):
            head.energy_at(graph, fields, zeros, None if spin else zeros)


def test_how_it_went_is_told():
    head = Populations(**SIZES).double()
    graph, fields = inputs(head, list(one_of_each().values()))
    found = head.equilibrated(graph, fields, head.parameters_of(graph, fields), head.solver.options(graph))
    (told,) = found.convergence
    assert 1 < told.iterations < 30 and float(told.residual.max()) <= 1e-10 and told.each.shape == (7,)


def test_fields_and_external_charges_polarise():
    """Slopes of the energy: the dipole, and the potential that the charges make outside."""
    potential, atoms = TestConvex().potential(), molecule(1, 6)
    graph = graph_of([atoms], potential.neighbour_lists, torch.float64)
    field = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    charge = torch.tensor([1.5], dtype=torch.float64, requires_grad=True)
    place = torch.tensor([[6.0, 1.0, -2.0]], dtype=torch.float64)
    outside = ExternalCharges(place, charge, torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.int64))
    energy, fields = potential.energy(replace(graph, electric_field=field, external=outside))
    by_field, by_charge = torch.autograd.grad(energy.sum(), (field, charge))
    charges = fields["charges"].detach()
    torch.testing.assert_close(-by_field[0], charges @ graph.positions, rtol=0, atol=1e-9)
    widths = fields["gaussian_widths"]
    r = torch.linalg.vector_norm(graph.positions - place, dim=1)
    made = COULOMB_CONSTANT * (charges * torch.erf(r / widths) / r).sum()
    torch.testing.assert_close(by_charge[0], made.detach(), rtol=0, atol=1e-9)
    alone = potential.energy(graph)[1]["charges"].detach()
    assert float((charges - alone).abs().max()) > 1e-3
