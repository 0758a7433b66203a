"""Charge equilibration as a head: the battery, with both solvers."""

from dataclasses import replace

import pytest
import torch

from eqff.construct import construct
from eqff.errors import ConfigError, ModelError
from eqff.heads.charge_equilibration import ChargeEquilibration
from eqff.parts import Head
from eqff.testing.battery import LOCAL_ENERGY, MINIMAL_BACKBONE, PotentialBattery
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, molecule

TARGET = "eqff.heads.charge_equilibration.ChargeEquilibration"


class Equilibration(PotentialBattery):
    head = {"_target_": TARGET, "hidden": 4, "max_width": 0.8, "cutoff": 8.0, "accuracy": 1e-12}

    @property
    def model(self):
        terms = {"local": LOCAL_ENERGY, "equilibration": {"_target_": "eqff.terms.field_energy.FieldEnergy"}}
        return {"backbone": MINIMAL_BACKBONE, "heads": {"charges": self.head}, "terms": terms}

    def test_far_fragments_add_up(self) -> None:
        pytest.skip("equilibration moves charge between fragments however far apart they are")


class TestDense(Equilibration):
    pass


@pytest.mark.slow  # tests/longrange/test_equilibration.py holds both solvers against each other, to second order
class TestIterative(Equilibration):
    head = {**Equilibration.head, "dense_up_to": 1, "tolerance": 1e-13}


def test_widths_that_cannot_end_within_the_cutoff():
    with pytest.raises(ModelError, match="Raise cutoff to"):
        ChargeEquilibration(4, 2, (1, 8), max_width=3.0)


def test_parameters_start_where_they_should():
    head = ChargeEquilibration(4, 2, (1, 8), hardness=7.0)
    torch.testing.assert_close(torch.nn.functional.softplus(head.raw_hardness), torch.full((2,), 7.0))
    torch.testing.assert_close(1.5 * torch.sigmoid(head.raw_width), torch.tensor([0.31, 0.66]))


def test_a_stated_field_polarises():
    """Through the whole model: minus the derivative of the energy by the field is the charges' dipole."""
    potential, atoms = TestDense().potential(), molecule(1, 6)
    graph = graph_of([atoms], potential.neighbour_lists, torch.float64)
    field = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    energy, fields = potential.energy(replace(graph, electric_field=field))
    (slope,) = torch.autograd.grad(energy.sum(), field)
    torch.testing.assert_close(-slope[0], (fields["charges"][:, None] * graph.positions).sum(dim=0), rtol=0, atol=1e-10)
    strong = potential(replace(graph, electric_field=torch.tensor([[0.5, 0.0, 0.0]], dtype=torch.float64)))
    weak = fields["charges"].detach()
    assert float((strong["charges"] - weak).abs().max()) > 1e-2


def test_settings_of_a_base_class_are_checked_and_used():
    offers = {"channels": 4, "num_passes": 2, "elements": (1, 8)}
    config = {"_target_": "eqff.heads.split_charges.SplitCharges", "on_failure": "warn", "max_iterations": 7}
    head = construct(config, Head, offers, "model.heads.charges")
    assert head.solver.max_iterations == 7 and head.solver.failed.count == 0
    for wrong, told in (
        ({"on_failure": "warm"}, "Did you mean 'warn'"),
        ({"max_iteration": 7}, "Did you mean 'max_iterations'"),
        ({"dense_up_to": -1}, "at least 1"),
    ):
        with pytest.raises(ConfigError, match=told):
            construct({**config, **wrong}, Head, offers, "model.heads.charges")


def test_charged_crystals_can_be_refused():
    battery = TestDense()
    battery.head = {**battery.head, "charged_cell": "refuse"}
    charged = crystal(7)
    charged.info.update(total_charge=1, multiplicity=1 + (int(charged.numbers.sum()) - 1) % 2)
    with pytest.raises(ModelError, match="net charge of 1 e"):
        battery.predict(battery.potential(), [charged])
