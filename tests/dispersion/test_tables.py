"""Published numbers, parameters of functionals, and coefficients far from any reference."""

import pytest
import torch
from ase import Atoms

from eqff.build import ModelContext, build_potential
from eqff.dispersion.d3.references import D3References, pair_radii
from eqff.dispersion.d4.references import D4References, charge_scaling
from eqff.dispersion.functionals import damping_parameters
from eqff.errors import ConfigError
from eqff.testing.graphs import graph_of
from eqff.units import BOHR, HARTREE

ALL = tuple(range(1, 104))
WATER_DIMER = [
    [-1.551007, -0.114520, 0.0], [-1.934259, 0.762503, 0.0], [-0.599677, 0.040712, 0.0],
    [1.350625, 0.111469, 0.0], [1.680398, -0.373741, -0.758561], [1.680398, -0.373741, 0.758561],
]  # fmt: skip


D3, D4 = {"_target_": "eqff.terms.d3.D3"}, {"_target_": "eqff.terms.d4.D4"}


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (D3 | {"functional": "pbe"}, -0.03752694955315701),
        (D3 | {"functional": "opbe", "damping": "zero"}, -0.08608781768154615),
        (D3 | {"functional": "cf22d", "damping": "zero"}, -0.0017383678979341058),
        (D4 | {"functional": "pbe"}, -0.027129980593800982),
        (D4 | {"functional": "r2scan-cidh"}, -0.007894146822132233),
        (D4 | {"functional": "wb97x"}, -0.040940729727072356),
        (D4 | {"functional": "wb97x-2008"}, -0.0037763180606227766),
    ],
    ids=lambda value: value.get("functional") if isinstance(value, dict) else "",
)
def test_water_dimer_of_other_programs(term, expected):
    atoms = Atoms("OHHOHH", WATER_DIMER, info={"total_charge": 0, "multiplicity": 1})
    potential = build_potential({"terms": {"d": term}}, ModelContext((1, 8), {}), torch.float64).eval()
    energy = potential(graph_of([atoms], potential.neighbour_lists, torch.float64))["energy"]
    # the geometry is rounded to 1e-6 Å, and coordination is counted up to another cutoff
    assert float(energy) == pytest.approx(expected, abs=2e-7)


def test_coefficients_of_argon():
    """64.6462 hartree·bohr⁶ in both papers' tables, and D3's radius of two argon atoms."""
    unit = HARTREE * BOHR**6
    assert float(D3References([18]).c6[0, 0, 0, 0]) / unit == pytest.approx(64.6462, abs=1e-4)
    assert float(pair_radii([1, 18])[1, 1]) == pytest.approx(2.9148, abs=1e-4)


def test_packing_is_symmetric_and_complete():
    references = D3References(ALL)
    present = ~references.exponents[:, :, 0].isnan()
    c6 = references.c6
    torch.testing.assert_close(c6, c6.permute(2, 3, 0, 1), rtol=0, atol=0)
    assert bool((c6[present][:, present] > 0).all()) and int(present.sum()) == 338
    few = D3References([6, 79])
    width = few.c6.shape[1]
    torch.testing.assert_close(few.c6[1, :2, 0, :5], c6[78, :2, 5, :5], rtol=0, atol=0)
    assert width == 5


@pytest.mark.parametrize("references", [D3References, D4References])
def test_coefficients_are_smooth_wherever_an_atom_is(references):
    """Where all Gaussians underflow, the nearest reference has all the weight, with derivatives."""
    held = references([1, 6])
    coordination = torch.linspace(0, 60, 200, dtype=torch.float64, requires_grad=True)
    species = torch.ones(200, dtype=torch.int64)
    if references is D3References:
        coefficients = held(coordination, species)
    else:
        coefficients = held(held.weights(coordination, torch.zeros_like(coordination), species), species)
    every = torch.arange(200)
    c6 = coefficients.c6(every, every)
    first = torch.autograd.grad(c6.sum(), coordination, create_graph=True)[0]
    second = torch.autograd.grad(first.sum(), coordination)[0]
    assert all(bool(values.isfinite().all()) for values in (c6, first, second))
    c6 = c6.detach()
    assert float(c6[-1]) == pytest.approx(float(c6[100]), rel=1e-6) and float(c6.min()) > 1


def test_charge_scaling_at_and_beyond_a_bare_nucleus():
    effective = torch.tensor([[-0.5], [0.0], [1e-3], [0.5], [1.0], [2.0]], dtype=torch.float64, requires_grad=True)
    scaling = charge_scaling(torch.ones(6, 1, dtype=torch.float64), effective, torch.full((6, 1), 0.945))
    assert scaling[:3].flatten().tolist() == pytest.approx([torch.e**3] * 3)
    assert float(scaling[4].detach()) == pytest.approx(1.0)
    gradient = torch.autograd.grad(scaling.sum(), effective)[0]
    assert bool(gradient.isfinite().all()) and bool((gradient[3:] < 0).all())


def test_parameters_of_functionals():
    assert damping_parameters("d3_bj", "pbe") == {"s6": 1.0, "s9": 1.0, "alp": 14.0, "s8": 0.7875, "a1": 0.4289,
                                                  "a2": 4.4407}  # fmt: skip
    assert damping_parameters("d3_zero", "B3-LYP")["rs6"] == pytest.approx(1.261)
    assert damping_parameters("d4", "PBE", {"s8": 1.5})["s8"] == 1.5
    own = {"s8": 1.0, "a1": 0.4, "a2": 5.0}
    assert damping_parameters("d4", None, own)["a2"] == 5.0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("d3_bj", "pbbe"), "Did you mean pbe"),
        (("d3_bj", None), "s8, a1, a2 missing"),
        (("d3_zero", None, {"s8": 1.0}), "rs6 missing"),
        (("d3_bj", "pbe", {"a_1": 0.4}), "Did you mean 'a1'"),
    ],
)
def test_errors_that_can_be_mended(arguments, told):
    with pytest.raises(ConfigError, match=told):
        damping_parameters(*arguments)


def test_elements_without_references():
    with pytest.raises(ConfigError, match="Rf"):
        D3References([1, 104])
