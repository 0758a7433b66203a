"""Neutral spin equilibration: the battery, exact totals in every case, and what the exchange of α and β demands."""

import pytest
import torch
from states import info, many_states, sums, with_empty_structure

from eqff.testing.battery import ExchangeBattery
from eqff.testing.compare import assert_close
from eqff.testing.frames import random_orthogonal
from eqff.testing.structures import closed_shell, joined, molecule, transformed
from eqff.testing.tolerances import INVARIANCE

TARGET = "eqff.exchange.spin_equilibration.NeutralSpinEquilibration"
TOTAL_ERROR = {torch.float64: 1e-12, torch.float32: 1e-6}  # e


class EquilibrationChecks(ExchangeBattery):
    """For exchanges that equilibrate charges over a structure."""

    def test_far_fragments_add_up(self):
        """Only where no charge flows between fragments, as between equal ones: in general, equilibration over a whole
        structure is not size-consistent (docs/charges_and_spins.md)."""
        potential = self.potential()
        first = closed_shell(molecule(32, 6, self.elements))
        second = transformed(first, random_orthogonal(34))
        together = self.predict(potential, [joined(first, second, [60.0, 3.0, -2.0])])
        parts = self.predict(potential, [first, second])
        for name, expected in {**parts, "energy": parts["energy"].sum()[None]}.items():
            if name in ("energy", "forces", "charges"):
                assert_close(together[name], expected, INVARIANCE[torch.float64], name)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
    def test_totals_hold_in_every_pass(self, dtype):
        structures = many_states()
        prediction = self.predict(self.potential(dtype), structures, dtype)
        totals = {"pass_charges": info(structures, "total_charge")}
        totals["pass_spin_charges"] = info(structures, "multiplicity") - 1
        for name in totals.keys() & prediction.keys():
            for values in prediction[name].unbind(dim=1):
                assert float((sums(values, structures) - totals[name]).abs().max()) < TOTAL_ERROR[dtype], name

    def test_last_pass_is_what_counts(self):
        prediction = self.predict(self.potential(), many_states())
        assert torch.equal(prediction["charges"], prediction["pass_charges"][:, -1])
        assert not torch.equal(prediction["charges"], prediction["pass_charges"][:, 0])

    def test_one_atom_has_everything(self):
        atom = molecule(4, 1, (8,), total_charge=1, excited=True)
        prediction = self.predict(self.potential(), [atom])
        assert float(prediction["charges"]) == pytest.approx(1.0, abs=1e-15)
        if "spin_charges" in prediction:
            assert float(prediction["spin_charges"]) == pytest.approx(3.0, abs=1e-15)

    def test_empty_structures_change_nothing(self):
        potential = self.potential()
        graph = self.graph(potential, many_states())
        expected = potential.energy(graph)[1]["charges"]
        energy, fields = potential.energy(with_empty_structure(graph))
        assert torch.equal(fields["charges"], expected) and energy[-1] == 0.0

    @pytest.mark.parametrize("logit", [-1e4, -720.0, -65.0, 100.0])
    def test_vanishing_and_huge_weights(self, logit):
        """Totals and second derivatives survive weights that are all tiny or all huge."""
        potential = self.potential(torch.float32)
        with torch.no_grad():
            for name, parameter in potential.exchanges.named_parameters():
                if name.endswith("linear.bias"):
                    parameter[1 if len(parameter) == 2 else 2] = logit
        structures = many_states()
        graph = self.graph(potential, structures, torch.float32)
        prediction = potential(graph, create_graph=True)
        error = sums(prediction["charges"].detach(), structures) - info(structures, "total_charge")
        assert float(error.abs().max()) < 2e-6
        loss = prediction["forces"].square().sum() + prediction["pass_charges"].square().sum()
        loss.backward()
        assert all(bool(p.grad.isfinite().all()) for p in potential.parameters() if p.grad is not None)


class TestNeutralSpinEquilibration(EquilibrationChecks):
    exchange = {"_target_": TARGET, "hidden": 8}

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
    def test_singlets_have_no_spin_and_open_shells_do(self, dtype):
        structures = many_states()
        prediction = self.predict(self.potential(dtype), structures, dtype)
        sizes = [len(atoms) for atoms in structures]
        for atoms, spins in zip(structures, prediction["spin_charges"].split(sizes), strict=True):
            assert bool((spins == 0).all()) == (atoms.info["multiplicity"] == 1)
        assert any(atoms.info["multiplicity"] == 1 for atoms in structures)

    def test_spin_states_differ(self):
        """Singlet and triplet of one geometry: the model must tell them apart by energy and charges."""
        singlet = closed_shell(molecule(61, 6))
        triplet = singlet.copy()
        triplet.info["multiplicity"] = 3
        energies = self.predict(self.potential(), [singlet, triplet])["energy"]
        assert abs(float(energies[0] - energies[1])) > 1e-3

    def test_charge_reaches_the_energy(self):
        """Also on a backbone that does not read it: the equilibrated charges carry it in."""
        potential = self.potential()
        with torch.no_grad():
            potential.backbone.state.weight.zero_()
        neutral = molecule(62, 6)
        ion = neutral.copy()
        ion.info["total_charge"] = 2
        energies = self.predict(potential, [neutral, ion])["energy"]
        assert abs(float(energies[0] - energies[1])) > 1e-3


class TestBrokenSymmetry(EquilibrationChecks):
    exchange = {"_target_": TARGET, "hidden": 8, "broken_symmetry": True}

    def test_singlets_may_have_spins_that_cancel(self):
        spins = self.predict(self.potential(), [closed_shell(molecule(63, 6))])["spin_charges"]
        assert float(spins.abs().max()) > 1e-3 and abs(float(spins.sum())) < 1e-12


class TestIncrements(EquilibrationChecks):
    exchange = {"_target_": TARGET, "hidden": 8, "increments": True}

    def test_charges_of_the_pass_before_are_the_start(self):
        """Where the second pass reads nothing, its charges are those of the first."""
        potential = self.potential()
        with torch.no_grad():
            for parameter in potential.exchanges["exchange"].spin_channels[1].readout.parameters():
                parameter.zero_()
        prediction = self.predict(potential, many_states())
        for name in ("pass_charges", "pass_spin_charges"):
            first, second = prediction[name].unbind(dim=1)
            assert float((second - first).abs().max()) < 1e-12 and float(first.abs().max()) > 1e-2
