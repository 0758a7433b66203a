"""Newton's method under totals, of many structures at once, for energies that are not quadratic in the populations."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqff.longrange.conjugate_gradient import require_finite
from eqff.longrange.convergence import Convergence, Failure
from eqff.longrange.populations.energy import PopulationEnergy
from eqff.longrange.populations.steps import WHAT, Steps
from eqff.longrange.populations.totals import Totals
from eqff.nn.reduce import segment_sum

FALL = 1e-4
"""Share of the fall that the slope promises which a step has to keep [Armijo; Nocedal & Wright, 2006, ch. 3]."""
ROUNDING = 1e-12
"""Relative, of energies: smaller differences mean nothing."""
HALVINGS = 40


@dataclass(frozen=True)
class Newton:
    """Newton's steps, halved until the energy falls: from anywhere to a point where it is stationary.

    Attributes:
        tolerance: V; how far potentials dE/dx of the atoms of a structure may differ from their mean in the end.
        max_steps: No convergence within them is a failure.
        failed: What is done then.
    """

    tolerance: float
    max_steps: int
    failed: Failure

    @torch.no_grad()
    def minimize(self, energy: PopulationEnergy, totals: Totals, steps: Steps) -> tuple[Tensor, Convergence]:
        """x (N, C) from totals that are shared evenly, and how it went: the residual is in V.

        Raises:
            ModelError: What the energy is made of isn't finite, or (unless ``failed`` says otherwise) no convergence.
        """
        x = totals.shared(totals.values)
        value, slope = energy.value(x), totals.centred(energy.slope(x))
        require_finite(slope, energy.batch, WHAT)
        each = torch.zeros(energy.num_structures, dtype=torch.int64, device=x.device)
        for done in range(self.max_steps + 1):
            residual = _largest(slope, energy)
            active = ~(residual <= self.tolerance)  # NaN has not converged
            if done == self.max_steps or not bool(active.any()):
                break
            each = each + active
            step = steps.downhill(x, slope) * active[energy.batch][:, None]
            x, value, slope = _searched(energy, totals, x, value, slope, step)
        told = Convergence(done, residual, each)
        if bool(active.any()):
            self.failed(self._message(told, active))
        return x, told

    def _message(self, told: Convergence, active: Tensor) -> str:
        worst = int(torch.where(active, told.residual.nan_to_num(torch.inf), -1.0).argmax())
        return (
            f"{WHAT} of structure {worst} of the batch: after {told.iterations} of Newton's steps the potentials of "
            f"its atoms differ by {float(told.residual[worst]):.1e} V; the goal is {self.tolerance:.1e} V "
            f"({int(active.sum())} of {len(active)} structures are above it). Raise max_steps or potential_tolerance."
        )


def _searched(
    energy: PopulationEnergy, totals: Totals, x: Tensor, value: Tensor, slope: Tensor, step: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """x, energies and centred slopes after a step, which is halved where the energy would not fall."""
    promised = segment_sum((slope * step).sum(dim=1), energy.batch, energy.num_structures)
    noise = ROUNDING * (1 + value.abs())
    length, residual = torch.ones_like(value), _largest(slope, energy)
    for _ in range(HALVINGS):
        trial = x + length[energy.batch][:, None] * step
        new_value, new_slope = energy.value(trial), totals.centred(energy.slope(trial))
        falls = new_value <= value + FALL * length * promised
        # where the fall is lost in rounding, the slopes still tell
        falls = falls | ((new_value <= value + noise) & (_largest(new_slope, energy) <= residual))
        if bool(falls.all()):
            break
        length = torch.where(falls, length, 0.5 * length)
    moved = falls[energy.batch][:, None]  # what does not fall at all stays, and will be told
    return torch.where(moved, trial, x), torch.where(falls, new_value, value), torch.where(moved, new_slope, slope)


def _largest(slope: Tensor, energy: PopulationEnergy) -> Tensor:
    """Of absolute values (N, C) in each structure, (B,); NaN where there is one."""
    largest = torch.zeros(energy.num_structures, dtype=slope.dtype, device=slope.device)
    return largest.scatter_reduce(0, energy.batch, slope.abs().amax(dim=1), "amax")
