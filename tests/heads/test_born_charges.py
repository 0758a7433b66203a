"""Born charges: the battery, finite differences of the dipole, sum rules, and what a periodic structure says."""

import numpy as np
import pytest
import torch
from ase.build import make_supercell

from eqff.build import build_potential
from eqff.errors import ModelError
from eqff.response.born_charges import born_charges
from eqff.testing.battery import LOCAL_ENERGY, MINIMAL_BACKBONE, HeadBattery
from eqff.testing.structures import closed_shell, crystal, displaced, joined, molecule

CHARGES = {"_target_": "eqff.heads.charges.Charges", "hidden": 8}
LATENT = {"_target_": "eqff.heads.latent_charges.LatentCharges"}
BORN = {"_target_": "eqff.heads.born_charges.DipoleAndBornCharges"}


class TestBornCharges(HeadBattery):
    heads = {"charges": CHARGES}
    head = BORN

    def test_supercell(self):
        """Energies repeat; Born charges do only as far as the cell is large beside the environments (see below)."""
        potential, cell = self.potential(), closed_shell(crystal(31, elements=self.elements))
        large = make_supercell(cell, np.diag([2, 1, 1]), order="cell-major")
        large.info.update(cell.info)
        one, two = self.predict(potential, [cell]), self.predict(potential, [large])
        torch.testing.assert_close(two["forces"], one["forces"].repeat(2, 1), rtol=1e-9, atol=1e-10)

    def test_steps_with_periodic_structures_run_uncompiled(self, caplog):
        potential = self.potential().train()
        potential.compile_training_step("none")
        graph = self.graph(potential, list(self.structures().values()))
        plain = self.potential().train()(graph)
        for _ in range(2):
            assert torch.equal(potential(graph)["born_charges"], plain["born_charges"])
        lines = [record.getMessage() for record in caplog.records if "run uncompiled" in record.getMessage()]
        assert len(lines) == 1 and "model.heads.head" in lines[0]

    @pytest.mark.slow
    def test_compiled_steps_of_open_structures(self):
        kept = {name: atoms for name, atoms in self.structures().items() if not atoms.pbc.any()}
        battery = type(self)()
        battery.structures = lambda: kept
        captured = battery.potential().train()
        captured.compile_training_step("none")
        battery._compare(captured, list(kept.values()))
        assert any(captured._compiled._codes.values())

    def test_derivative_of_the_dipole(self):
        potential = self.potential()
        structures = [self.structures()[name] for name in ("molecule", "cation", "atom")]
        found = self.predict(potential, structures)["born_charges"].split([len(atoms) for atoms in structures])
        step = 1e-4
        for atoms, charges in zip(structures, found, strict=True):
            for atom in range(min(len(atoms), 3)):
                for a in range(3):
                    shift = np.zeros((len(atoms), 3))
                    shift[atom, a] = step
                    pair = [displaced(atoms, shift), displaced(atoms, -shift)]
                    up, down = self.predict(potential, pair)["dipole"]
                    torch.testing.assert_close(charges[atom, a], (up - down) / (2 * step), rtol=1e-6, atol=1e-7)

    def test_they_add_up_to_the_total_charge(self):
        structures = list(self.structures().values())
        found = self.predict(self.potential(), structures)["born_charges"].split([len(atoms) for atoms in structures])
        for atoms, charges in zip(structures, found, strict=True):
            if not atoms.pbc.any():
                expected = atoms.info["total_charge"] * torch.eye(3, dtype=torch.float64)
                torch.testing.assert_close(charges.sum(dim=0), expected, rtol=0, atol=1e-10)

    def test_without_forces_asked_for(self):
        potential = self.potential()
        graph = self.graph(potential, [self.structures()["molecule"]])
        expected = potential(graph)["born_charges"]
        torch.testing.assert_close(potential(graph, forces=False)["born_charges"], expected)

    def test_a_loss_on_them_reaches_every_weight_of_charges(self):
        potential = self.potential().train()
        graph = self.graph(potential, [self.structures()["molecule"]])
        potential(graph, forces=False)["born_charges"].square().sum().backward()
        for name, parameter in potential.heads.named_parameters():
            # a constant that is added to every charge is taken off again to keep the total
            assert parameter.grad is not None and bool((parameter.grad != 0).any()), name


def _potential(head, **born):
    heads = {"charges": head, "born": {**BORN, "atomic_dipoles": False, **born}}
    model = {"backbone": MINIMAL_BACKBONE, "heads": heads, "terms": {"local": LOCAL_ENERGY}}
    torch.manual_seed(0)
    return build_potential(model, HeadBattery().context(), torch.float64).eval()


def _predict(potential, atoms):
    return HeadBattery().predict(potential, [atoms])["born_charges"]


@pytest.mark.parametrize("axes", [(True, True, True), (True, True, False), (False, True, False)])
def test_a_large_cell_tends_to_the_open_molecule(axes):
    """Of charge that flows over x along a lattice vector of length L, sin(2 pi x / L) L / 2 pi counts."""
    potential = _potential(CHARGES)
    atoms = closed_shell(molecule(3, 6))
    expected, errors = _predict(potential, atoms), []
    for length in (40.0, 80.0):
        boxed = atoms.copy()
        boxed.set_cell(length * np.diag(axes) @ np.array([[1, 0.2, 0], [0, 1, 0.1], [0.3, 0, 1]]))
        boxed.pbc = axes
        errors.append(float((_predict(potential, boxed) - expected).abs().max()))
    assert errors[0] < 0.02 * float(expected.abs().max())
    assert 3.5 < errors[0] / errors[1] < 4.5  # second order in x / L


@pytest.mark.parametrize("axes", [(True, True, False), (False, True, False)])
def test_vectors_in_open_directions_are_no_periods(axes):
    """The box of a slab has a height, which is nothing to its charges."""
    potential = _potential(CHARGES)
    atoms = closed_shell(crystal(31, elements=HeadBattery.elements))
    atoms.pbc = axes
    expected = _predict(potential, atoms)
    bare = atoms.copy()
    bare.set_cell(np.where(np.array(axes)[:, None], atoms.cell.array, 0.0))
    torch.testing.assert_close(_predict(potential, bare), expected, rtol=0, atol=1e-12)


def test_latent_charges_without_a_total():
    """Charges that don't add up: still the derivative of the dipole that is given."""
    potential = _potential(LATENT, charges="latent_charges")
    atoms, step = closed_shell(molecule(4, 5)), 1e-4
    battery = HeadBattery()
    shift = np.zeros((5, 3))
    shift[2, 1] = step
    up, down = (battery.predict(potential, [displaced(atoms, s)])["dipole"][0] for s in (shift, -shift))
    torch.testing.assert_close(_predict(potential, atoms)[2, 1], (up - down) / (2 * step), rtol=1e-6, atol=1e-8)


def test_formal_charges_are_their_own_born_charges():
    formal = {"_target_": "eqff.heads.formal_charges.FormalCharges", "charges": {"H": 1, "C": 4, "N": -3, "O": -2}}
    atoms = crystal(3)
    found = _predict(_potential({**formal, "require_total": False}), atoms)
    expected = torch.tensor([formal["charges"][symbol] for symbol in atoms.symbols], dtype=torch.float64)
    torch.testing.assert_close(found, expected[:, None, None] * torch.eye(3, dtype=torch.float64))


def test_far_fragments_keep_their_own():
    potential = _potential(LATENT, charges="latent_charges")
    first, second = closed_shell(molecule(1, 5)), closed_shell(molecule(2, 4))
    both = joined(first, second, [50.0, 0, 0])
    expected = torch.cat([_predict(potential, first), _predict(potential, second)])
    # those of the second one are about its own place
    torch.testing.assert_close(_predict(potential, both)[:5], expected[:5], rtol=1e-9, atol=1e-10)


def test_under_no_grad_they_are_the_same():
    potential = _potential(CHARGES)
    graph = HeadBattery().graph(potential, [molecule(1)])
    expected = potential(graph)["born_charges"]
    with torch.no_grad():
        _, fields = potential.energy(graph)
    assert not fields["born_charges"].requires_grad
    torch.testing.assert_close(fields["born_charges"], expected)


def test_positions_without_gradients_are_refused():
    graph = HeadBattery().graph(_potential(CHARGES), [molecule(1)])
    with pytest.raises(ModelError, match="without gradients"):
        born_charges(graph, torch.zeros(graph.num_atoms, dtype=torch.float64))
