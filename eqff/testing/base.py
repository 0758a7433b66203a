"""What every battery shares: the potential under test, structures for it, and predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from ase import Atoms
from torch import Tensor

from eqff.build import ModelContext, build_potential
from eqff.data.fields import FIELDS, Field
from eqff.data.graph import AtomicGraph
from eqff.potential import Potential
from eqff.testing.graphs import graph_of
from eqff.testing.structures import one_of_each


class Battery:
    """Gives the tests a potential and structures; a subclass says which.

    Either ``model`` is a config as under ``model`` in conf/, or `make_potential` is overridden; files can only be
    tested with the former.

    Attributes:
        model: Config of the potential.
        elements: Atomic numbers that the structures are made of.
        perturbation: Every parameter is moved at random by this fraction of its size before any test, so that what
            is initialised to zero is tested too; 0 for parameters that must stay as they are.
    """

    model: Mapping[str, Any] | None = None
    elements: tuple[int, ...] = (1, 6, 7, 8)
    perturbation: float = 0.1

    def context(self) -> ModelContext:
        """What the potential would take from training data."""
        energies = {number: -1.0 - 0.1 * number for number in self.elements}
        return ModelContext(self.elements, energies, energy_scale=2.0, mean_neighbours=20.0)

    def make_potential(self, dtype: torch.dtype) -> Potential:
        """A potential with fresh weights; called with the random seed set."""
        if self.model is None:
            raise NotImplementedError(f"{type(self).__name__} needs a `model` config or its own make_potential.")
        return build_potential(self.model, self.context(), dtype)

    def structures(self) -> dict[str, Atoms]:
        """Structures of every kind that the potential must treat, by name."""
        return one_of_each(self.elements)

    def potential(self, dtype: torch.dtype = torch.float64) -> Potential:
        """The potential in evaluation mode, the same weights each time."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            potential = self.make_potential(dtype)
            with torch.no_grad():
                for parameter in potential.parameters():
                    size = parameter.square().mean().sqrt()
                    size = torch.where(size > 0, size, 1.0)
                    parameter += self.perturbation * size * torch.randn_like(parameter)
        return potential.eval()

    def graph(
        self, potential: Potential, structures: Sequence[Atoms], dtype: torch.dtype = torch.float64
    ) -> AtomicGraph:
        """Structures as one batch, with the neighbour lists that the potential asks for."""
        return graph_of(structures, potential.neighbour_lists, dtype)

    def predict(
        self, potential: Potential, structures: Sequence[Atoms], dtype: torch.dtype = torch.float64
    ) -> dict[str, Tensor]:
        """Energy, forces, stress, virial and every field, of structures as one batch."""
        return potential(self.graph(potential, structures, dtype), stress=True)


def comparable(prediction: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor, Field]]:
    """What a prediction holds that the fields table can turn: labels of every pass, and the energy of every term."""
    for name, value in prediction.items():
        if name.startswith(("energy_", "atom_energy_")):
            level = "atom" if name.startswith("atom") else "structure"
            yield name, value, Field(name, level, (), "0e", "eV", "energy of a term")
        elif (row := FIELDS.get(name.removeprefix("pass_"))) is not None and row.shape is not None:
            yield name, value, row
