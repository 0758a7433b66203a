"""Each equivariant operation against e3nn's own on the same irreps."""

import math

import pytest
import torch
from e3nn import o3

from eqff.nn.linear import DegreeLinear
from eqff.nn.many_body import ManyBodyProduct, sphere_grid
from eqff.nn.spherical import SphericalHarmonics, components, num_components, paths
from eqff.nn.tensor_product import NeighbourTensorProduct

ROUNDING = 1e-12
"""Relative; float64 sums of at most some hundred terms of unit size."""


@pytest.fixture(autouse=True)
def double():
    previous = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(1)
    yield
    torch.set_default_dtype(previous)


def irreps(degree, channels=1):
    return o3.Irreps([(channels, (l, (-1) ** l)) for l in range(degree + 1)])


def to_e3nn(features):
    """(..., (L + 1)², C) to e3nn's flat layout, where the components of one channel stand together."""
    degree = math.isqrt(features.shape[-2]) - 1
    blocks = [features[..., components(l), :].transpose(-1, -2).flatten(-2) for l in range(degree + 1)]
    return torch.cat(blocks, dim=-1)


@pytest.mark.parametrize("degree", range(5))
def test_spherical_harmonics(degree):
    unit = torch.nn.functional.normalize(torch.randn(50, 3), dim=-1)
    expected = o3.spherical_harmonics(list(range(degree + 1)), unit, False, "component")
    torch.testing.assert_close(SphericalHarmonics(degree)(unit), expected, rtol=ROUNDING, atol=ROUNDING)


def test_float32_harmonics_come_from_float64_tables():
    torch.set_default_dtype(torch.float32)
    harmonics = SphericalHarmonics(4)
    assert harmonics.raise4.dtype == torch.float32
    unit = torch.nn.functional.normalize(torch.randn(50, 3), dim=-1)
    expected = o3.spherical_harmonics(list(range(5)), unit, False, "component")
    torch.testing.assert_close(harmonics(unit), expected, rtol=1e-5, atol=2e-6)  # some tens of float32 roundings


@pytest.mark.parametrize("degree", [0, 1, 3])
def test_linear(degree):
    ours, theirs = DegreeLinear(degree, 4, 6), o3.Linear(irreps(degree, 4), irreps(degree, 6))
    with torch.no_grad():
        theirs.weight.copy_((ours.weight * math.sqrt(4)).flatten())  # e3nn divides by √fan-in when it is used
    features = torch.randn(5, num_components(degree), 4)
    torch.testing.assert_close(to_e3nn(ours(features)), theirs(to_e3nn(features)), rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("degrees", [(1, 2, 2), (2, 2, 2), (1, 3, 2), (2, 1, 0)])
def test_neighbour_tensor_product(degrees):
    degree_in, degree_edge, degree_out = degrees
    atoms, places, channels = 3, 4, 5
    ours = NeighbourTensorProduct(*degrees)
    instructions = [(l1, l2, l3, "uvu", True) for l1, l2, l3 in paths(*degrees)]
    theirs = o3.TensorProduct(
        irreps(degree_in, channels),
        irreps(degree_edge),
        irreps(degree_out, channels),
        instructions,
        irrep_normalization="component",
        path_normalization="element",
        shared_weights=False,
        internal_weights=False,
    )
    sent = torch.randn(atoms, places, num_components(degree_in), channels)
    harmonics = torch.randn(atoms, places, num_components(degree_edge))
    channel_weights = torch.randn(atoms, places, channels)
    path_weights = torch.randn(atoms, places, len(ours.paths))
    weights = (path_weights[..., :, None] * channel_weights[..., None, :]).flatten(2)  # rank one in (path, channel)
    expected = theirs(to_e3nn(sent), harmonics, weights).sum(dim=1)
    result = ours(sent, harmonics, channel_weights, path_weights)
    torch.testing.assert_close(to_e3nn(result), expected, rtol=ROUNDING, atol=ROUNDING)


def test_scalars_times_harmonics():
    ours = NeighbourTensorProduct(0, 3, 3)
    sent, weights = torch.randn(2, 3, 1, 4), torch.randn(2, 3, 4)
    harmonics = torch.randn(2, 3, 16)
    expected = torch.einsum("nkc,nkm,nkc->nmc", sent[:, :, 0], harmonics, weights)
    torch.testing.assert_close(ours(sent, harmonics, weights, None), expected, rtol=ROUNDING, atol=ROUNDING)


def gaunt(l1, l2, l3):
    """The integral of three component-normalised harmonics over the sphere, from e3nn's Wigner 3j symbols."""
    zero = torch.tensor([[0.0, 1.0, 0.0]])  # at the pole of e3nn's harmonics only m = 0 is not zero
    at_pole = [o3.spherical_harmonics(l, zero, False, "component")[0] for l in (l1, l2, l3)]
    wigner = o3.wigner_3j(l1, l2, l3)
    return wigner * torch.einsum("abc,a,b,c->", wigner, *at_pole)


GRIDS = [(1, 1, 2), (2, 2, 2), (2, 0, 3), (2, 2, 3), (3, 1, 3), (4, 4, 2)]


@pytest.mark.parametrize(("degree", "degree_out", "order"), GRIDS)
def test_grid_product_is_the_gaunt_tensor_product(degree, degree_out, order):
    to_grid, from_grid = sphere_grid(degree, degree_out, order)
    u, v, w = torch.randn(3, num_components(degree))
    result = from_grid @ ((to_grid @ u) * (to_grid @ v) * ((to_grid @ w) if order == 3 else 1.0))
    product = gaunt_product(u, v, degree, degree, 2 * degree if order == 3 else degree_out)
    if order == 3:
        product = gaunt_product(product, w, 2 * degree, degree, degree_out)
    torch.testing.assert_close(result, product, rtol=1e-10, atol=1e-10)  # Lebedev weights carry about 13 digits


def gaunt_product(u, v, degree1, degree2, degree_out):
    out = torch.zeros(num_components(degree_out))
    for l1, l2, l3 in paths(degree1, degree2, degree_out):
        out[components(l3)] += torch.einsum("abc,a,b->c", gaunt(l1, l2, l3), u[components(l1)], v[components(l2)])
    return out


def test_many_body_product_keeps_sizes():
    """Unit-size input gives output of order one, whatever the degree, so that depth doesn't blow up or starve."""
    for degree in (1, 2, 3, 4):
        product = ManyBodyProduct(degree, degree, 32, 3, 2)
        out = product(torch.randn(200, num_components(degree), 32), torch.zeros(200, dtype=torch.int64))
        assert 0.2 < out.square().mean().sqrt() < 5.0


def test_e3nn_is_not_in_script_mode():
    """In script mode neither compilation nor export of the derivatives works."""
    import e3nn

    assert e3nn.get_optimization_defaults()["jit_mode"] != "script"
