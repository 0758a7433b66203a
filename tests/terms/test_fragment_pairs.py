"""Energies of pairs between fragments: the battery on open structures, and a plain loop over pairs."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from e3nn import o3

from eqff.errors import ModelError
from eqff.terms.fragment_pairs import CONTACT, FragmentPairs
from eqff.testing.battery import MINIMAL_BACKBONE, PotentialBattery
from eqff.testing.graphs import graph_of
from eqff.testing.structures import crystal, divided, molecule, one_of_each

SETTINGS = {"cutoff": 5.0, "hidden": 6, "directions": 2, "radial_size": 4}
TERM = {"_target_": "eqff.terms.fragment_pairs.FragmentPairs", "degree": 2, **SETTINGS}


class TestFragmentPairs(PotentialBattery):
    model = {
        "fragments": {"_target_": "eqff.fragments.fragments.Fragments"},
        "backbone": MINIMAL_BACKBONE,
        "terms": {"pairs": TERM},
    }
    periodic_scan = (False, False, False)

    def structures(self):
        found = one_of_each(self.elements)
        return {name: divided(found[name]) for name in ("molecule", "cation", "atom")}

    def graph(self, potential, structures, dtype=torch.float64):
        return super().graph(potential, [divided(atoms) for atoms in structures], dtype)

    def test_supercell(self):
        pytest.skip("open structures only")

    def test_wrapped_atoms(self):
        pytest.skip("open structures only")


def _term(degree):
    torch.manual_seed(1)
    previous = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return FragmentPairs(channels=3, num_passes=2, energy_scale=0.7, degree=degree, **SETTINGS)
    finally:
        torch.set_default_dtype(previous)


def _plain(term, positions, groups, scalars, features):
    """The sum over ordered pairs, one by one, with e3nn's harmonics."""
    total, (w, b) = 0.0, (term.atoms.weight, term.atoms.bias)
    hidden = w.shape[0] // 2
    for i, j in permutations(range(len(positions)), 2):
        vector = positions[j] - positions[i]
        r = vector.norm()
        if groups[i] == groups[j] or r >= term.cutoff:
            continue
        own = w[:hidden] @ scalars[i] + b[:hidden] + w[hidden:] @ scalars[j] + b[hidden:]
        seen = []
        for l in range(1, term.degree + 1):
            part = slice(l * l, (l + 1) ** 2)
            u, v = (term.directional.mix[l - 1](features[k, part]) for k in (i, j))
            at_i = o3.spherical_harmonics(l, vector, True, "component")
            at_j = o3.spherical_harmonics(l, -vector, True, "component")
            seen += [u.T @ at_i, v.T @ at_j, (u * v).sum(dim=0)]
        if seen:
            own = own + term.between.weight @ torch.cat(seen)
        n = torch.arange(1, term.basis.size + 1, dtype=torch.float64)
        basis = (2 / term.cutoff) ** 0.5 * torch.sin(n * torch.pi * r / term.cutoff) / r
        gate, shift = (term.radial.weight @ basis + term.radial.bias).chunk(2)
        x = r / term.cutoff
        window = 1 - 28 * x**6 + 48 * x**7 - 21 * x**8
        total = total + term.network(own * gate + shift)[0] * (CONTACT / r) ** 3 * window
    return 0.7 * total


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_equals_a_plain_loop(degree):
    term, atoms = _term(degree), molecule(5, 8)
    graph = graph_of([atoms], term.neighbour_lists, torch.float64)
    generator = torch.Generator().manual_seed(2)
    scalars = torch.randn(8, 2, 3, generator=generator, dtype=torch.float64)
    features = torch.randn(8, 9, 3, generator=generator, dtype=torch.float64)
    groups = torch.tensor([0, 0, 3, 3, 0, 1, 1, 3])
    fields = {"pass_scalars": scalars, "features": features, "molecules": groups}
    expected = _plain(term, torch.as_tensor(atoms.positions), groups.tolist(), scalars.flatten(1), features)
    torch.testing.assert_close(term(graph, fields)["energy"].sum(), expected, rtol=1e-11, atol=1e-12)


def test_periodic_structures_are_refused():
    term = _term(0)
    with pytest.raises(ModelError, match="for open structures"):
        term(graph_of([crystal(1)], term.neighbour_lists, torch.float64), {})
