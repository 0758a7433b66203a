"""The energy that local environments carry: a readout of each pass, and the reference energies of the elements."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from eqff.data.graph import AtomicGraph
from eqff.errors import ModelError
from eqff.parts import Fields, Term
from eqff.ranges import Size


class ReferenceEnergies(nn.Module):
    """One energy per element, kept in float64 whatever the precision of the model around it.

    Args:
        reference_energies: Atomic number to eV.
    """

    def __init__(self, reference_energies: Mapping[int, float]):
        super().__init__()
        values = torch.zeros(max(reference_energies) + 1, dtype=torch.float64)
        for number, energy in reference_energies.items():
            values[number] = energy
        self.register_buffer("values", values)

    def _apply(self, fn, recurse: bool = True):  # noqa: ANN001
        exact = self.values
        super()._apply(fn, recurse)
        self.values = exact.to(self.values.device)  # total energies of 1e4 eV need more than float32
        return self

    def forward(self, numbers: Tensor) -> Tensor:
        """Reference energy of each atom in eV, (N,) float64."""
        return self.values[numbers]


class LocalEnergy(Term):
    """Site energies [Behler & Parrinello, Phys. Rev. Lett. 98, 146401 (2007)].

    E_i = scale · (W · s_i + MLP(s_i)) + E0_z, with s_i the scalar features after every pass and, as in fourth
    generation networks [Ko et al., Nat. Commun. 12, 398 (2021)], other numbers of the atom, such as its equilibrated
    charge.

    Args:
        channels: Channels of the backbone.
        num_passes: Passes of the backbone.
        reference_energies: E0 of each element, Z to eV.
        energy_scale: eV; a typical size of what is left to learn.
        hidden: Width of the nonlinear readout; 0 for a linear one alone.
        inputs: Fields with one number for each atom that are read too.
    """

    level = "atom"

    def __init__(
        self,
        channels: int,
        num_passes: int,
        reference_energies: Mapping[int, float],
        energy_scale: float = 1.0,
        hidden: Size = 32,
        inputs: tuple[str, ...] = (),
    ):
        super().__init__()
        self.inputs = tuple(inputs)
        self.reads = ("pass_scalars", "numbers", *self.inputs)
        size = channels * num_passes + len(self.inputs)
        self.reference = ReferenceEnergies(reference_energies)
        self.linear = nn.Linear(size, 1, bias=False)
        self.nonlinear = None
        if hidden:
            self.nonlinear = nn.Sequential(nn.Linear(size, hidden), nn.SiLU(), nn.Linear(hidden, 1, bias=False))
        self.register_buffer("energy_scale", torch.tensor(float(energy_scale)))

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """Site energies in eV, (N,) float64.

        Raises:
            ModelError: One of ``inputs`` is not one number for each atom.
        """
        scalars = self._scalars(fields)
        energy = self.linear(scalars)
        if self.nonlinear is not None:
            energy = energy + self.nonlinear(scalars)
        return {"energy": self.reference(graph.numbers) + (self.energy_scale * energy[:, 0]).to(torch.float64)}

    @property
    def last_layer_size(self) -> int:
        """D, the number of `last_layer` features of an atom."""
        return self.linear.in_features + (0 if self.nonlinear is None else self.nonlinear[0].out_features)

    def last_layer(self, fields: Fields) -> Tensor:
        """What the learned part of the site energy is linear in, in eV for weights without unit, (N, D).

        The scalars that the linear readout reads, and the hidden layer of the nonlinear one.
        """
        scalars = self._scalars(fields)
        if self.nonlinear is not None:
            scalars = torch.cat([scalars, self.nonlinear[:2](scalars)], dim=1)
        return self.energy_scale * scalars

    def _scalars(self, fields: Fields) -> Tensor:
        """All that is read of an atom, (N, size)."""
        scalars = fields["pass_scalars"].flatten(1)
        if not self.inputs:
            return scalars
        more = [self._input(name, fields, scalars) for name in self.inputs]
        return torch.cat([scalars, torch.stack(more, dim=1)], dim=1)

    @staticmethod
    def _input(name: str, fields: Fields, scalars: Tensor) -> Tensor:
        value = fields[name]
        if value.shape != scalars.shape[:1]:
            raise ModelError(
                f"The local energy reads '{name}', which has the shape {tuple(value.shape)}; only fields with one "
                "number for each atom can be its inputs."
            )
        return value.to(scalars.dtype)


class ReferenceEnergy(Term):
    """E_i = E0_z: the elements' reference energies alone, for models without a learned local energy.

    Args:
        reference_energies: E0 of each element, Z to eV.
    """

    reads = ("numbers",)
    level = "atom"

    def __init__(self, reference_energies: Mapping[int, float]):
        super().__init__()
        self.reference = ReferenceEnergies(reference_energies)

    def forward(self, graph: AtomicGraph, fields: Fields) -> dict[str, Tensor]:
        """Site energies in eV, (N,) float64."""
        return {"energy": self.reference(graph.numbers)}
