"""The battery can fail: each check finds the mistake that it is there for, and a sound term passes it."""

import pytest
import torch
from torch import nn

from eqff.nn.reduce import segment_sum
from eqff.parts import Term
from eqff.potential import Potential
from eqff.testing.battery import TermBattery

CUTOFF = 3.0


class Sound(Term):
    """A sum over pairs with a smooth cutoff; subclasses spoil one thing each."""

    reads = ("numbers",)

    def __init__(self):
        super().__init__()
        self.strength = nn.Parameter(torch.tensor([0.5, 0.3], dtype=torch.float64))

    @property
    def neighbour_lists(self):
        return {"local": CUTOFF}

    def vectors(self, graph):
        return graph.local.vectors

    def cut(self, lengths):
        return torch.where(lengths < CUTOFF, (1 - (lengths / CUTOFF) ** 2).clamp(min=0) ** 3, 0.0)

    def pairs(self, graph):
        vectors, lengths = self.vectors(graph), torch.linalg.vector_norm(self.vectors(graph), dim=-1)
        weights = self.strength[0] + self.strength[1] / graph.numbers[graph.local.sender]
        return vectors, lengths, weights.to(lengths.dtype) * self.cut(lengths)

    def atoms(self, graph, values):
        return segment_sum(values, graph.local.receiver, graph.num_atoms)

    def forward(self, graph, fields):
        _, lengths, weights = self.pairs(graph)
        return {"energy": self.atoms(graph, weights * torch.exp(-lengths)) ** 2}


class Directional(Sound):
    def forward(self, graph, fields):
        vectors, _, weights = self.pairs(graph)
        return {"energy": self.atoms(graph, weights * vectors[:, 0] ** 2)}


class Chiral(Sound):
    """Three vectors around an atom and their triple product: rotations keep it, reflections change its sign."""

    def forward(self, graph, fields):
        vectors, lengths, weights = self.pairs(graph)
        sums = [self.atoms(graph, (weights * lengths**power)[:, None] * vectors) for power in (0, 1, 2)]
        return {"energy": (torch.linalg.cross(sums[0], sums[1]) * sums[2]).sum(dim=-1)}


class FromTheOrigin(Sound):
    def forward(self, graph, fields):
        return {"energy": super().forward(graph, fields)["energy"] + 0.01 * graph.positions.square().sum(dim=-1)}


class CountsAtoms(Sound):
    def forward(self, graph, fields):
        order = torch.arange(graph.num_atoms, dtype=graph.positions.dtype)
        return {"energy": super().forward(graph, fields)["energy"] * (1 + 0.1 * order)}


class LooksAtTheBatch(Sound):
    def forward(self, graph, fields):
        energy = super().forward(graph, fields)["energy"]
        return {"energy": energy - energy.mean()}


class ScalesWithSize(Sound):
    def forward(self, graph, fields):
        size = torch.bincount(graph.batch, minlength=graph.num_structures)
        return {"energy": super().forward(graph, fields)["energy"] * size[graph.batch]}


class HardCutoff(Sound):
    def cut(self, lengths):
        return (lengths < CUTOFF).to(lengths.dtype)


class HardCutoffOfImages(Sound):
    """Smooth in open structures only."""

    def pairs(self, graph):
        vectors, lengths, weights = super().pairs(graph)
        periodic = graph.pbc.any(dim=1)[graph.batch[graph.local.receiver]]
        hard = (lengths < CUTOFF).to(lengths.dtype) * (weights / self.cut(lengths).clamp(min=1e-30)).detach()
        return vectors, lengths, torch.where(periodic, 0.1 * hard.clamp(max=1.0), weights)


class LeaksCharge(Sound):
    """Charges that miss the total by a millionth."""

    writes = ("charges",)

    def forward(self, graph, fields):
        counts = torch.bincount(graph.batch, minlength=graph.num_structures)
        charges = ((graph.total_charge + 3e-6) / counts)[graph.batch]
        return {**super().forward(graph, fields), "charges": charges}


class KinkedCutoff(Sound):
    """The energy is continuous, its slope is not."""

    def cut(self, lengths):
        return (1 - lengths / CUTOFF).clamp(min=0)


class WholeList(Sound):
    def cut(self, lengths):
        return torch.ones_like(lengths)


class ForgetsGradient(Sound):
    def cut(self, lengths):
        return super().cut(lengths).detach()


class ForgetsCell(Sound):
    """Images of an atom do not move with the cell."""

    def vectors(self, graph):
        edges = graph.local
        shift = (edges.shift[:, None] @ graph.cell[graph.batch[edges.receiver]].detach())[:, 0]
        return graph.positions[edges.sender] - graph.positions[edges.receiver] + shift


class OnceOnly(torch.autograd.Function):
    """Right to first order; its derivative is a constant to autograd."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.exp(-x)

    @staticmethod
    def backward(ctx, grad):
        return -grad * torch.exp(-ctx.saved_tensors[0].detach())


class ForgetsSecondDerivative(Sound):
    def forward(self, graph, fields):
        _, lengths, weights = self.pairs(graph)
        return {"energy": self.atoms(graph, weights * OnceOnly.apply(lengths))}


class DetachedParameters(Sound):
    def forward(self, graph, fields):
        _, lengths, weights = self.pairs(graph)
        return {"energy": self.atoms(graph, weights * torch.exp(-lengths) + (weights.detach() - weights) * lengths)}


class Idle(Sound):
    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.ones(1, dtype=torch.float64))


class WholeInFloat32(Sound):
    def forward(self, graph, fields):
        return {"energy": super().forward(graph, fields)["energy"].to(torch.float32)}


class KeepsState(Sound):
    """Averages over what it has seen."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, graph, fields):
        self.seen += 1
        return {"energy": super().forward(graph, fields)["energy"] * self.seen}


class DiffersInTraining(Sound):
    def forward(self, graph, fields):
        return {"energy": super().forward(graph, fields)["energy"] * (1.1 if self.training else 1.0)}


def battery_of(part):
    class Battery(TermBattery):
        perturbation = 0.0

        def make_potential(self, dtype):
            return Potential(None, {"term": part().to(dtype)}, elements=self.elements)

    return Battery()


MISTAKES = [
    (Directional, "test_turns_with_the_frame", (False, torch.float64)),
    (Directional, "test_no_net_force_or_torque", ()),
    (Chiral, "test_turns_with_the_frame", (True, torch.float64)),
    (FromTheOrigin, "test_independent_of_the_origin", (torch.float64,)),
    (FromTheOrigin, "test_wrapped_atoms", ()),
    (FromTheOrigin, "test_no_net_force_or_torque", ()),
    (CountsAtoms, "test_permutation", ()),
    (CountsAtoms, "test_batch_equals_singles", (torch.float64,)),
    (LooksAtTheBatch, "test_batch_equals_singles", (torch.float64,)),
    (ScalesWithSize, "test_supercell", ()),
    (ScalesWithSize, "test_far_fragments_add_up", ()),
    (HardCutoff, "test_smooth_at_cutoffs", ()),
    (HardCutoffOfImages, "test_smooth_at_cutoffs", ()),
    (KinkedCutoff, "test_smooth_at_cutoffs", ()),
    (LeaksCharge, "test_totals_hold", (torch.float64,)),
    (LeaksCharge, "test_totals_hold", (torch.float32,)),
    (WholeList, "test_longer_neighbour_lists_change_nothing", ()),
    (ForgetsGradient, "test_forces_are_minus_the_gradient", ()),
    (ForgetsGradient, "test_virial_and_stress_are_strain_derivatives", ()),
    (ForgetsCell, "test_virial_and_stress_are_strain_derivatives", ()),
    (ForgetsSecondDerivative, "test_force_gradient_by_positions", ()),
    (DetachedParameters, "test_force_loss_gradient_by_parameters", ()),
    (Idle, "test_every_parameter_is_trained", ()),
    (WholeInFloat32, "test_forces_are_minus_the_gradient", ()),
    (KeepsState, "test_independent_of_the_origin", (torch.float64,)),
    (DiffersInTraining, "test_predictions_carry_no_graph", ()),
]
CHECKS = sorted({(check, arguments) for _, check, arguments in MISTAKES}, key=str)


@pytest.mark.parametrize(("part", "check", "arguments"), MISTAKES, ids=lambda x: getattr(x, "__name__", str(x)))
def test_mistake_is_found(part, check, arguments):
    with pytest.raises(AssertionError):
        getattr(battery_of(part), check)(*arguments)


@pytest.mark.parametrize(("check", "arguments"), CHECKS, ids=str)
def test_sound_term_passes(check, arguments):
    getattr(battery_of(Sound), check)(*arguments)


def test_chirality_is_no_matter_of_rotation():
    """So that the reflection is known to be what finds it."""
    battery_of(Chiral).test_turns_with_the_frame(False, torch.float64)


def test_moved_cell_is_no_matter_of_forces():
    battery_of(ForgetsCell).test_forces_are_minus_the_gradient()
