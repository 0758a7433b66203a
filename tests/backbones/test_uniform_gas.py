"""Deviations of symmetry functions in a gas, against a gas."""

import numpy as np
import torch
from ase import Atoms

from eqff.backbones.ani import Shells, ShellsAndAngles
from eqff.backbones.symmetry_functions import ANGLES, SymmetryFunctions
from eqff.backbones.uniform_gas import angular_deviation, radial_deviation
from eqff.testing.graphs import graph_of

DENSITY, EDGE = 0.05, 50.0


def gas(seed):
    count = round(DENSITY * EDGE**3)
    positions = np.random.default_rng(seed).random((count, 3)) * EDGE
    return Atoms(numbers=[1] * count, positions=positions, cell=[EDGE] * 3, pbc=True)


def test_deviations_are_those_of_atoms_at_random_places():
    radial = Shells(3.0, 3, 2.0, 0.9)
    angular = ShellsAndAngles(2.5, 2, 2.0, 0.9, 2, 3.0, 0.95)
    graph = graph_of([gas(seed) for seed in range(3)], {"local": 3.0, ANGLES: 2.5}, torch.float32, classical=True)
    found = SymmetryFunctions(1, radial, angular)(graph, torch.zeros_like(graph.numbers)).std(dim=0)
    expected = torch.cat([radial_deviation(radial, DENSITY), angular_deviation(angular, DENSITY)])
    # 18,750 environments that overlap: deviations of one gas and another differ by some percent
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0)
