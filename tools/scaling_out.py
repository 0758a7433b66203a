"""Weak and strong scaling of training on paper, from a measured step, the gradients' size, and real batches.

    python tools/scaling_out.py --step-ms 30 --pairs 20000 --floor-ms 3 --parameters 201657

A step of n ranks takes   T(n) = floor + slope · W(n) + R(n) + k L(n).
- floor and slope: a step's time is affine in its pairs (atoms within the cutoff of each other), --floor-ms at none and
  --step-ms at --pairs of them. Measure both with tools/bench_eqff.py on the device in question, at two batch sizes.
- W(n): pairs of the fullest rank. Batches of the data (--data) are made and shared out as in training
  (eqff.data.packing), so this has the imbalance that really comes about, for batches by structures and by pairs.
- R(n): what is left of the all-reduce of S bytes of gradients, of which --overlap goes on beside the backward pass: the
  smaller of a ring, 2 (n-1)/n S/B + 2 (n-1) a, and a double tree, 2 S/B + 2 log2(n) a [Thakur et al., Int. J. High
  Perform. Comput. Appl. 19, 49 (2005); Sanders et al., Parallel Comput. 35, 581 (2009)], with a = --latency-us and
  B = --bandwidth-gbs of the slowest link. Within one machine (up to --node ranks) those of the fast links.
- k L(n): k small sums over ranks in each step (the loss of each field, the norm's and the clocks' agreement), each
  2 log2(n) a.

Efficiency is time without any of that by T(n). Weak: each rank has --pairs. Strong: all together have --strong pairs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2

import numpy as np

from eqff.data.neighbours import add_neighbours
from eqff.data.packing import divide, measure
from eqff.data.reading import read_frames
from eqff.errors import EqffError

RANKS = (1, 2, 4, 8, 16, 64, 256, 512, 1024)
STEPS, MOST = 20, 200_000
"""Batches that imbalance is averaged over, and structures in all of them beyond which there are fewer."""


@dataclass(frozen=True)
class Network:
    """Attributes:
    node: Ranks of a machine.
    latency: Of a message between machines, s.
    bandwidth: Between machines, bytes/s for each rank.
    inner_latency: Within a machine, s.
    inner_bandwidth: The same.
    """

    node: int
    latency: float
    bandwidth: float
    inner_latency: float
    inner_bandwidth: float

    def link(self, ranks: int) -> tuple[float, float]:
        """Latency and bandwidth of the slowest link between so many."""
        if ranks <= self.node:
            return self.inner_latency, self.inner_bandwidth
        return self.latency, self.bandwidth

    def reduce(self, ranks: int, size: float) -> float:
        """Seconds of an all-reduce of ``size`` bytes, by the better of a ring and a double tree."""
        if ranks == 1:
            return 0.0
        latency, bandwidth = self.link(ranks)
        ring = 2 * (ranks - 1) / ranks * size / bandwidth + 2 * (ranks - 1) * latency
        tree = 2 * size / bandwidth + 2 * log2(ranks) * latency
        return min(ring, tree)


@dataclass(frozen=True)
class Step:
    """Attributes:
    floor: Seconds of a step without pairs.
    slope: Seconds of each pair.
    parameters: Of the model; their gradients are float32.
    sums: Small ones over ranks in each step.
    overlap: Share of the all-reduce that goes on beside the backward pass.
    """

    floor: float
    slope: float
    parameters: int
    sums: int
    overlap: float

    def alone(self, pairs: float) -> float:
        """Seconds on one rank."""
        return self.floor + self.slope * pairs

    def together(self, ranks: int, fullest: float, network: Network) -> float:
        """Seconds when the fullest of the ranks has so many pairs."""
        left = (1 - self.overlap) * network.reduce(ranks, 4.0 * self.parameters)
        return self.alone(fullest) + left + self.sums * network.reduce(ranks, 16.0)


def imbalance(work: np.ndarray, ranks: int, per_rank: float, balanced: bool, seed: int = 0) -> float:
    """The fullest share by the mean one, averaged over random batches of ``ranks`` shares of ``per_rank`` work.

    Args:
        work: Of each structure of the data, (M,).
        ranks: How many shares.
        per_rank: Mean work of a share.
        balanced: By work (what eqff does), or so many structures for each rank in their order (what samplers do).
        seed: Of the batches.
    """
    generator = np.random.default_rng(seed)
    count = max(ranks, ceil(ranks * per_rank / work.mean()))
    ratios = []
    for _ in range(max(1, min(STEPS, MOST // count))):
        batch = work[generator.integers(len(work), size=count)]
        shares = divide(batch, ranks) if balanced else np.array_split(np.arange(count), ranks)
        loads = np.array([batch[share].sum() for share in shares], dtype=float)
        ratios.append(loads.max() / loads.mean())
    return float(np.mean(ratios))


def rows(
    step: Step, network: Network, work: np.ndarray, ranks: Sequence[int], pairs: float, strong: bool
) -> list[tuple[float, ...]]:
    """For each number of ranks: pairs of a rank, imbalance by structures and by work, seconds, efficiency."""
    table = []
    for count in ranks:
        share = pairs / count if strong else pairs
        by_count, by_work = (imbalance(work, count, share, balanced) for balanced in (False, True))
        seconds = step.together(count, by_work * share, network)
        first = step.alone(pairs)
        efficiency = first / (count * seconds) if strong else first / seconds
        table.append((count, share, by_count, by_work, seconds, efficiency))
    return table


def markdown(title: str, found: Sequence[tuple[float, ...]]) -> str:
    """A table."""
    lines = [f"**{title}**", "", "| ranks | pairs each | fullest by mean, so many structures each | shared by pairs |"]
    lines[-1] += " step, ms | efficiency |"
    lines += ["|---|---|---|---|---|---|"]
    for count, share, by_count, by_work, seconds, efficiency in found:
        cells = (
            f"{count} | {share:.0f} | {by_count:.2f} | {by_work:.3f} | {1e3 * seconds:.2f} | {100 * efficiency:.0f} %"
        )
        lines.append(f"| {cells} |")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--step-ms", type=float, required=True, help="a measured step of --pairs pairs")
    add("--pairs", type=float, required=True, help="of each rank, for weak scaling")
    add("--floor-ms", type=float, required=True, help="a measured step of next to no pairs")
    add("--strong", type=float, help="pairs of the whole batch, default 64 times --pairs")
    add("--parameters", type=int, required=True, help="of the model")
    add("--sums", type=int, default=4, help="small ones over ranks in each step")
    add("--overlap", type=float, default=0.0, help="share of the all-reduce beside the backward pass")
    add("--node", type=int, default=8, help="ranks of a machine")
    add("--latency-us", type=float, default=10.0, help="between machines")
    add("--bandwidth-gbs", type=float, default=25.0, help="between machines, GB/s for each rank")
    add("--inner-latency-us", type=float, default=3.0, help="within a machine")
    add("--inner-bandwidth-gbs", type=float, default=200.0, help="within a machine")
    add("--data", default="shipped:ions/train.extxyz.gz", help="whose structures are shared out")
    add("--cutoff", type=float, default=5.0, help="Å")
    add("--ranks", type=int, nargs="+", default=RANKS)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    options = _parser().parse_args(arguments)
    try:
        frames = [add_neighbours(frame, {"local": options.cutoff}) for frame in read_frames(options.data)]
    except EqffError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    work = measure(frames, "edges")
    slope = (options.step_ms - options.floor_ms) / 1e3 / options.pairs
    step = Step(options.floor_ms / 1e3, slope, options.parameters, options.sums, options.overlap)
    network = Network(
        options.node,
        options.latency_us / 1e6,
        options.bandwidth_gbs * 1e9,
        options.inner_latency_us / 1e6,
        options.inner_bandwidth_gbs * 1e9,
    )
    strong = options.strong or 64 * options.pairs
    print(f"{len(work)} structures of {work.min()} to {work.max()} pairs, {work.mean():.0f} on average\n")
    print(markdown("Weak", rows(step, network, work, options.ranks, options.pairs, False)) + "\n")
    print(markdown(f"Strong, {strong:.0f} pairs", rows(step, network, work, options.ranks, strong, True)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
