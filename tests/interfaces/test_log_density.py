"""Log-densities: forces by k_B T, the same alone and in a batch, for molecules and crystals."""

import numpy as np
import pytest
import torch
from ase import units
from foreign_calculators import lennard_jones

from eqff.build import ModelContext, build_potential
from eqff.errors import ConfigError, DataError, ModelError
from eqff.interfaces.calculator_energy import calculator_potential
from eqff.interfaces.calculators import named_calculator
from eqff.interfaces.log_density import LogDensity
from eqff.testing.structures import crystal, molecule

CONFIG = {
    "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 2},
    "terms": {"local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4}},
}
CONTEXT = ModelContext((1, 6, 7, 8), {1: -13.6, 6: -1030.0, 7: -1486.0, 8: -2042.0})


@pytest.fixture
def potential():
    torch.manual_seed(0)
    return build_potential(CONFIG, CONTEXT, torch.float64).eval()


def configurations(atoms, count, seed=0):
    rng = np.random.default_rng(seed)
    return torch.tensor(atoms.positions + 0.1 * rng.normal(size=(count, len(atoms), 3)))


@pytest.mark.parametrize("make", [molecule, crystal])
def test_differences_of_u_and_its_gradient_are_those_of_the_calculator(potential, make):
    atoms, temperature = make(1), 350.0
    density = LogDensity(potential, atoms, temperature)
    x = configurations(atoms, 3).requires_grad_()
    log_p = density(x)
    (slope,) = torch.autograd.grad(log_p.sum(), x)
    torch.testing.assert_close(density.score(x), slope)
    kt, calculator = units.kB * temperature, potential.calculator()
    for index in range(3):
        moved = atoms.copy()
        moved.positions = x[index].detach().numpy()
        assert log_p[index].item() == pytest.approx(-calculator.get_property("energy", moved) / kt, rel=1e-13)
        forces = calculator.get_property("forces", moved)
        np.testing.assert_allclose(slope[index].numpy(), forces / kt, atol=1e-9 * np.abs(forces / kt).max())


def test_a_batch_is_its_members_and_flat_positions_are_the_same(potential):
    atoms = molecule(2, 6)
    density = LogDensity(potential, atoms, 300.0)
    x = configurations(atoms, 4)
    together = density.reduced_energy(x)
    # the largest energies are some 1e5 k_B T
    torch.testing.assert_close(
        together, torch.cat([density.reduced_energy(one[None]) for one in x]), rtol=1e-12, atol=0
    )
    torch.testing.assert_close(together, density.reduced_energy(x.flatten(1)), rtol=0, atol=0)
    assert density(x[:0]).shape == (0,)


def test_gradients_by_finite_differences_to_second_order(potential):
    atoms = molecule(3, 3)
    density = LogDensity(potential, atoms, 3e4)
    x = configurations(atoms, 2).requires_grad_()
    assert torch.autograd.gradcheck(density, (x,), rtol=1e-5)
    assert torch.autograd.gradgradcheck(density, (x,), rtol=1e-4, atol=1e-4)


def test_a_lattice_vector_changes_nothing(potential):
    atoms = crystal(4)
    density = LogDensity(potential, atoms, 300.0)
    x = configurations(atoms, 2)
    moved = x.clone()
    moved[:, 1] += torch.tensor(atoms.cell.array[0] - 2 * atoms.cell.array[2])
    torch.testing.assert_close(density(moved), density(x), rtol=1e-11, atol=0)


def test_single_precision_gives_gradients_in_the_precision_of_the_positions(potential):
    atoms = molecule(1)
    density = LogDensity(potential, atoms, 300.0, dtype=torch.float32)
    x = configurations(atoms, 2).float().requires_grad_()
    density(x).sum().backward()
    assert x.grad.dtype == torch.float32 and density(x).dtype == torch.float64


def test_any_calculator_is_a_target():
    atoms = molecule(1)
    density = LogDensity(calculator_potential(named_calculator(lennard_jones())), atoms, 300.0)
    x = configurations(atoms, 1)
    moved = atoms.copy()
    moved.positions = x[0].numpy()
    expected = lennard_jones().get_property("forces", moved) / (units.kB * 300.0)
    np.testing.assert_allclose(density.score(x)[0], expected, rtol=1e-10, atol=1e-8)


def test_what_has_no_density_is_refused(potential):
    atoms = molecule(1)
    with pytest.raises(ConfigError, match="temperature"):
        LogDensity(potential, atoms, 0.0)
    with pytest.raises(ModelError, match="does not know Fe"):
        LogDensity(potential, molecule(1, 2, (26,)), 300.0)
    density = LogDensity(potential, atoms, 300.0)
    for wrong in (torch.zeros(2, len(atoms), 2), torch.zeros(2, len(atoms), 3, dtype=torch.int64)):
        with pytest.raises(DataError, match="needed are floating numbers"):
            density(wrong)
    with pytest.raises(DataError, match="not finite"):
        density(torch.full((1, len(atoms), 3), torch.nan))
    del atoms.info["total_charge"]
    with pytest.raises(DataError, match="total charge is nowhere given"):
        LogDensity(potential, atoms, 300.0)
