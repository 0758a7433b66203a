"""Which solver a batch gets, by the size of its structures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from eqff.data.graph import AtomicGraph
from eqff.longrange.convergence import Failure, refuse


@dataclass(frozen=True)
class SolverChoice:
    """Factorisation of small structures' matrices, conjugate gradients where one of a batch is large.

    Attributes:
        dense_up_to: Atoms of the largest structure of a batch up to which matrices are factorised.
        tolerance: Relative residual of conjugate gradients.
        max_iterations: After which they have failed.
        failed: What is done then.
    """

    dense_up_to: int = 499
    tolerance: float = 1e-8
    max_iterations: int = 500
    failed: Failure = refuse

    def direct(self, graph: AtomicGraph) -> bool:
        """Whether a batch's matrices are factorised; no value is looked at where ``graph.members`` is there."""
        if graph.members is not None:
            return graph.members.shape[1] <= self.dense_up_to
        return int(torch.bincount(graph.batch, minlength=1).max()) <= self.dense_up_to

    def options(self, graph: AtomicGraph) -> dict[str, Any]:
        """Keyword arguments of `equilibrate` and `equilibrate_by_transfer` for a batch."""
        return {
            "iterative": not self.direct(graph),
            "tolerance": self.tolerance,
            "max_iterations": self.max_iterations,
            "failed": self.failed,
        }
