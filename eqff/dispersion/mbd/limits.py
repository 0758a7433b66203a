"""What many-body dispersion refuses beforehand: batches that don't fit into memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from eqff.data.graph import AtomicGraph
from eqff.dispersion.all_pairs import AllPairs
from eqff.dispersion.mbd.sampling import Samples
from eqff.dispersion.mbd.settings import MBDSettings
from eqff.errors import ModelError

SCREENING_COPIES, OSCILLATOR_COPIES = 9, 24
"""Arrays of each size that training on forces holds at once, as measured."""


def require_memory(graph: AtomicGraph, pairs: AllPairs, groups: Sequence[Samples], settings: MBDSettings) -> None:
    """Raises ModelError with numbers if a batch would need more than `MBDSettings.max_memory`.

    Matrices of 3n × 3n, n the atoms of the largest structure, at every frequency and q point, and blocks of every pair.
    """
    needed = memory(graph, pairs, groups, settings)
    if needed > settings.max_memory:
        counts = torch.bincount(graph.batch, minlength=graph.num_structures)
        raise ModelError(
            f"Many-body dispersion of a batch of {graph.num_structures} structures, the largest (structure "
            f"{int(counts.argmax())}) with {int(counts.max())} atoms, takes about {needed:.1f} GiB; max_memory is "
            f"{settings.max_memory:g} GiB. Its memory grows with the square of the number of atoms: make batches "
            "smaller, take fewer q points, or raise max_memory."
        )


def memory(graph: AtomicGraph, pairs: AllPairs, groups: Sequence[Samples], settings: MBDSettings) -> float:
    """Estimate in GiB of what training on forces takes for a batch; forces alone take three quarters of it."""
    counts = torch.bincount(graph.batch, minlength=graph.num_structures)
    frequencies = settings.frequencies + 1 if settings.screening else 0
    screening = frequencies * (graph.num_structures * (3 * int(counts.max())) ** 2 + 9 * len(pairs.lengths))
    oscillators = 0
    for samples in groups:
        size, of_samples = counts[samples.structure], torch.bincount(samples.structure, minlength=graph.num_structures)
        each = 1 if samples.at_origin else 2
        blocks = int(of_samples[graph.batch[pairs.receiver]].sum())
        oscillators += each * (len(samples) * (3 * int(size.max())) ** 2 + 9 * blocks)
    return (SCREENING_COPIES * screening + OSCILLATOR_COPIES * oscillators) * 8 / 2**30
