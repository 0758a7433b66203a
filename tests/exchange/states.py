"""What the tests of exchanges share: structures of many states, sums by structure, a batch with an empty structure."""

import dataclasses

import torch

from eqff.testing.structures import molecule, one_of_each


def many_states():
    """Every periodicity, ions and open shells up to a quartet, and a lone atom without charge."""
    more = [molecule(51, 8, total_charge=-3), molecule(52, 9, total_charge=2, excited=True), molecule(53, 1, (1,))]
    return list(one_of_each().values()) + more


def sums(values, structures):
    """Sum over each structure, float64."""
    return torch.stack([part.to(torch.float64).sum() for part in values.split([len(atoms) for atoms in structures])])


def info(structures, key):
    return torch.tensor([float(atoms.info[key]) for atoms in structures], dtype=torch.float64)


def with_empty_structure(graph):
    """The same batch with a structure without atoms at its end."""

    def longer(name):
        value = getattr(graph, name)
        return torch.cat([value, value[-1:]])

    names = ("cell", "pbc", "total_charge", "multiplicity")
    return dataclasses.replace(graph, **{name: longer(name) for name in names})
