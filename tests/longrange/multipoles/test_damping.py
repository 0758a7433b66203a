"""Damping of multipole interactions: each scale follows from the one before, and all end where they say."""

from __future__ import annotations

import pytest
import torch

from eqff.longrange.multipoles.damping import HIGHEST, GaussianDamping, NoDamping, TholeDamping

SIZES = torch.tensor([0.8, 1.3, 0.0], dtype=torch.float64)
DAMPINGS = {
    "none": NoDamping(),
    "gaussian": GaussianDamping(SIZES),
    "thole": TholeDamping(SIZES, 0.39),
    "two strengths": TholeDamping(SIZES, torch.tensor([0.39, 0.6, 0.1], dtype=torch.float64)),
}
EVERY = pytest.mark.parametrize("damping", DAMPINGS.values(), ids=DAMPINGS.keys())


def of_pair(damping, lengths, count=HIGHEST, pair=(0, 1)):
    first, second = (torch.full(lengths.shape, atom) for atom in pair)
    return damping.scales(lengths, first, second, count)


@EVERY
def test_scales_are_derivatives_of_one_potential(damping):
    lengths = torch.linspace(0.2, 5.0, 25, dtype=torch.float64, requires_grad=True)
    scales = of_pair(damping, lengths)
    for n in range(1, HIGHEST):
        before = scales[n - 1]
        slope = torch.autograd.grad(before.sum(), lengths, retain_graph=True)[0] if before.requires_grad else 0.0
        torch.testing.assert_close(scales[n], before - lengths / (2 * n - 1) * slope, rtol=1e-11, atol=1e-13)


@EVERY
def test_derivatives_to_second_order(damping):
    lengths = torch.linspace(0.4, 3.0, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda r: tuple(s * r for s in of_pair(damping, r)), lengths)


@EVERY
@pytest.mark.parametrize("accuracy", [1e-4, 1e-8])
def test_it_ends_at_its_extent(damping, accuracy):
    beyond = torch.tensor([damping.extent(accuracy) + 1e-9], dtype=torch.float64)
    for pair in ((0, 1), (1, 1), (1, 2)):
        for scale in of_pair(damping, beyond, pair=pair):
            assert abs(float(scale) - 1) < accuracy


def test_atoms_without_polarizability_do_not_damp():
    near = torch.tensor([0.1], dtype=torch.float64)
    assert all(float(scale) == 1.0 for scale in of_pair(DAMPINGS["thole"], near, pair=(0, 2)))


def test_the_smaller_strength_counts():
    lengths = torch.linspace(0.5, 2.0, 4, dtype=torch.float64)
    torch.testing.assert_close(of_pair(DAMPINGS["two strengths"], lengths), of_pair(DAMPINGS["thole"], lengths))


def test_fields_need_no_first_scale():
    lengths = torch.linspace(0.5, 2.0, 4, dtype=torch.float64)
    whole, without = of_pair(DAMPINGS["thole"], lengths), of_pair(TholeDamping(SIZES, 0.39, fields_only=True), lengths)
    assert bool((without[0] == 1).all()) and bool((whole[0] < 1).all())
    torch.testing.assert_close(without[1:], whole[1:])


def test_two_gaussians_interact_as_their_density_says():
    """erf(r / √(w_i² + w_j²)), the interaction of two spread charges."""
    lengths = torch.linspace(0.5, 3.0, 6, dtype=torch.float64)
    first = of_pair(DAMPINGS["gaussian"], lengths)[0]
    torch.testing.assert_close(first, torch.erf(lengths / (0.8**2 + 1.3**2) ** 0.5))
