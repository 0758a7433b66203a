"""Attention over a structure: the battery, and the sums it stands for."""

import pytest
import torch
from states import many_states, with_empty_structure

from eqff.errors import ConfigError
from eqff.exchange.attention import NonlocalAttention, linear_attention, orthogonal_directions
from eqff.testing.battery import ExchangeBattery
from eqff.testing.structures import closed_shell, joined, molecule

TARGET = "eqff.exchange.attention.NonlocalAttention"


class TestOpenShellsAndIons(ExchangeBattery):
    """Size-consistent for neutral singlets."""

    exchange = {"_target_": TARGET, "heads": 2, "random_features": 6, "neutral_singlets": False}

    def test_neutral_singlets_are_left_alone(self):
        potential, singlet = self.potential(), closed_shell(molecule(71, 6))
        ion = singlet.copy()
        ion.info["total_charge"] = 2
        before = self.predict(potential, [singlet, ion])["energy"]
        with torch.no_grad():
            for parameter in potential.exchanges.parameters():
                parameter.mul_(2.0)
        after = self.predict(potential, [singlet, ion])["energy"]
        assert before[0] == after[0] and before[1] != after[1]


class TestNonlocalAttention(ExchangeBattery):
    exchange = {"_target_": TARGET, "heads": 2, "random_features": 6}

    def test_far_fragments_add_up(self):
        """They don't: a mean over all atoms is no property of a fragment (docs/charges_and_spins.md). Equal ones do."""
        potential, first = self.potential(), closed_shell(molecule(32, 6))
        second = closed_shell(molecule(33, 4))
        for other, additive in ((first, True), (second, False)):
            together = self.predict(potential, [joined(first, other, [60.0, 3.0, -2.0])])["energy"]
            parts = self.predict(potential, [first, other])["energy"]
            assert (abs(float(together - parts.sum())) < 1e-9) is additive

    def test_empty_structures_change_nothing(self):
        potential = self.potential()
        graph = self.graph(potential, many_states())
        with torch.no_grad():
            expected, energies = potential.energy(graph)[0], potential.energy(with_empty_structure(graph))[0]
        assert torch.equal(energies[:-1], expected) and energies[-1] == 0.0


def test_is_the_mean_over_the_own_structure():
    """Against the matrix of all pairs, one structure at a time."""
    generator = torch.Generator().manual_seed(0)
    queries, keys = (torch.rand(9, 2, 5, generator=generator).double() for _ in range(2))
    values, sizes = torch.randn(9, 2, 3, generator=generator).double(), [4, 1, 4]
    batch = torch.repeat_interleave(torch.arange(3), torch.tensor(sizes))
    found = linear_attention(queries, keys, values, batch, 3).split(sizes)
    for part, q, k, v in zip(found, queries.split(sizes), keys.split(sizes), values.split(sizes), strict=True):
        weights = torch.einsum("ihm,jhm->hij", q, k)
        expected = torch.einsum("hij,jhd->ihd", weights / weights.sum(dim=2, keepdim=True), v)
        torch.testing.assert_close(part, expected, rtol=1e-12, atol=1e-12)


def test_features_estimate_the_exponential_kernel():
    """With many directions, φ(q)·φ(k) tends to exp(q·k)."""
    attention = NonlocalAttention(channels=4, num_passes=1, heads=1, random_features=40000)
    # longer vectors need far more directions
    vectors = torch.randn(6, 1, 4, generator=torch.Generator().manual_seed(1)) * 0.25
    kernel = attention._kernel(vectors)[:, 0]
    short = vectors[:, 0] / torch.sqrt(1 + vectors[:, 0].square().sum(1, keepdim=True) / 9)
    torch.testing.assert_close(kernel @ kernel.T, torch.exp(short @ short.T), rtol=0.05, atol=0)


def test_directions_are_orthogonal_and_always_the_same():
    directions = orthogonal_directions(6, 4)
    products = directions @ directions.T
    off_diagonal = products[:4, :4] - torch.diag(products[:4, :4].diag())
    assert float(off_diagonal.abs().max()) < 1e-6
    torch.manual_seed(5)
    assert torch.equal(directions, orthogonal_directions(6, 4))


def test_extreme_vectors_stay_finite():
    attention = NonlocalAttention(channels=8, num_passes=1, heads=1)
    vectors = torch.tensor([[1e4] * 8, [-1e4] * 8, [0.0] * 8])[:, None]
    kernel = attention._kernel(vectors)
    assert bool((kernel > 0).all()) and bool(kernel.isfinite().all())


def test_heads_must_divide_channels():
    with pytest.raises(ConfigError, match="10 channels can't be divided by 4"):
        NonlocalAttention(channels=10, num_passes=1)
