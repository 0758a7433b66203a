"""NequIP through the battery, and its parts beside e3nn's own."""

import pytest
import torch
from e3nn import o3

from eqff.build import ModelContext, build_potential
from eqff.errors import ConfigError
from eqff.nn.convolution import Neighbourhood, SphericalConvolution
from eqff.nn.radial import xplor_cutoff
from eqff.nn.spherical import SphericalHarmonics
from eqff.testing.battery import LOCAL_ENERGY, BackboneBattery

SMALL = {
    "_target_": "eqff.backbones.nequip.NequIP",
    "channels": 8,
    "higher_channels": [6, 4],
    "num_passes": 2,
    "cutoff": 4.0,
    "radial_size": 4,
    "radial_hidden": [8],
}
CONTEXT = ModelContext(elements=(1, 6, 8), reference_energies={1: 0.0, 6: 0.0, 8: 0.0})


class TestNequIP(BackboneBattery):
    backbone = SMALL
    degree = 2


@pytest.mark.parametrize("reflections", [True, False])
def test_convolution_is_that_of_e3nn(reflections):
    """The same paths as one "uvu" tensor product of e3nn's, weight by weight."""
    torch.manual_seed(3)
    torch.set_default_dtype(torch.float64)
    try:
        channels, degree = (5, 3, 2), 2
        ours = SphericalConvolution(channels, degree, 2, 4, (6,), reflections)
        pairs = Neighbourhood(
            torch.tensor([1, 2, 0, 3]),
            torch.tensor([0, 0, 1, 2]),
            torch.rand(4, 4),
            SphericalHarmonics(degree)(torch.nn.functional.normalize(torch.randn(4, 3), dim=1)),
        )
        parts = [torch.randn(4, 2 * l + 1, count) for l, count in enumerate(channels)]
        parity = [(-1) ** l if reflections else 1 for l in range(3)]
        irreps = o3.Irreps([(count, (l, parity[l])) for l, count in enumerate(channels)])
        out = o3.Irreps([(channels[l1], (l3, parity[l3])) for l1, _, l3 in ours.paths])
        instructions = [(l1, l2, k, "uvu", True) for k, (l1, l2, _) in enumerate(ours.paths)]
        filters = o3.Irreps([(1, (l, parity[l])) for l in range(3)])
        theirs = o3.TensorProduct(irreps, filters, out, instructions, shared_weights=False, internal_weights=False)
        flat = torch.cat([part.transpose(1, 2).flatten(1) for part in parts], dim=1)  # e3nn keeps channels first
        found = theirs(flat[pairs.sender], pairs.harmonics, ours.radial(pairs.basis))
        summed = torch.zeros(4, found.shape[1]).index_add(0, pairs.receiver, found)
        blocks = [
            summed[:, rows].unflatten(1, (mul, ir.dim)).transpose(1, 2)
            for rows, (mul, ir) in zip(out.slices(), out, strict=True)
        ]
        for l, mine in enumerate(ours(parts, pairs)):
            expected = torch.cat([b for b, (_, _, l3) in zip(blocks, ours.paths, strict=True) if l3 == l], dim=2)
            torch.testing.assert_close(mine, expected, rtol=1e-12, atol=1e-12)
    finally:
        torch.set_default_dtype(torch.float32)


def test_xplor_ends_smoothly():
    lengths = torch.tensor([1.0, 4.5, 4.5 + 1e-6, 4.75, 5.0 - 1e-6, 5.0, 6.0], dtype=torch.float64, requires_grad=True)
    values = xplor_cutoff(lengths, 5.0, 4.5)
    (slopes,) = torch.autograd.grad(values.sum(), lengths)
    share = (4.75**2 - 4.5**2) / (5.0**2 - 4.5**2)  # it is the smoothstep of r²
    assert values.tolist() == pytest.approx([1, 1, 1, 1 - 3 * share**2 + 2 * share**3, 0, 0, 0], abs=1e-6)
    assert slopes[[0, 1, 2, 4, 5, 6]].abs().max() < 1e-4


@pytest.mark.parametrize(
    ("change", "degree", "message"),
    [
        ({}, 3, "reads degree 3.*higher_channels"),
        ({"reflections": False}, 1, "reads degree 1.*reflections=true"),
        ({"higher_channels": [16]}, 0, "more than the 8 of scalars"),
        ({"envelope": "xplor", "xplor_onset": 4.0}, 0, "below the cutoff, 4.0"),
    ],
)
def test_what_does_not_fit_is_refused(change, degree, message):
    probe = {"_target_": "eqff.testing.minimal.PowerEnergy", "degree": degree}
    with pytest.raises(ConfigError, match=message):
        build_potential({"backbone": {**SMALL, **change}, "terms": {"local": LOCAL_ENERGY, "probe": probe}}, CONTEXT)
