"""From rows of all rounds to medians, ratios, exponents and Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from benchmarks.jobs import OWN

Row = dict[str, Any]

TITLES = {
    "train_step": "Training step",
    "with_nl": "Energy, forces (and stress, where periodic) through the ASE calculator, neighbour list included",
    "model_only": "Energy, forces (and stress, where periodic) by the model alone",
}
COMMON = "matched"
"""The configuration that all packages have."""
QUIET = 0.25
"""Cores that others may keep busy while wall times are believed."""


@dataclass(frozen=True)
class Timing:
    """One package in one mode on one workload, over all rounds.

    Attributes:
        cpu: Median CPU time of a call in each round, ms.
        wall: The same of wall time.
        memory: Largest resident memory of the process, MiB.
        compile: Seconds of the first calls, compilation included, the smallest of all rounds and the largest.
        others: Cores that other processes kept busy, mean over rounds.
    """

    package: str
    config: str
    mode: str
    what: str
    workload: str
    threads: int
    atoms: int
    edges: int
    cpu: dict[int, float]
    wall: dict[int, float]
    memory: float
    compile: tuple[float, float]
    others: float

    @property
    def name(self) -> str:
        """Package, configuration if it is not the common one, and mode."""
        return f"{self.package}{'' if self.config == COMMON else f' {self.config}'}, {self.mode}"

    def best(self, clock: str) -> float:
        """Median over rounds of "cpu" or "wall", ms."""
        return median(getattr(self, clock).values())


def timings(rows: Iterable[Row]) -> list[Timing]:
    """Of the rows that are results, in the order in which packages first appear."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        if "what" in row and row["what"] in TITLES:
            key = tuple(row[name] for name in ("peer", "config", "mode", "what", "workload", "threads"))
            groups.setdefault(key, []).append(row)
    return [_timing(group) for group in groups.values()]


def _timing(rows: Sequence[Row]) -> Timing:
    last = rows[-1]
    warm = [row["warmup_s"] for row in rows]
    return Timing(
        package=last["peer"],
        **{name: last[name] for name in ("config", "mode", "what", "workload", "threads", "atoms", "edges")},
        cpu={row.get("round", place): 1e3 * row["cpu_s"] for place, row in enumerate(rows)},
        wall={row.get("round", place): 1e3 * row["s_per_step"] for place, row in enumerate(rows)},
        memory=max(row["peak_rss_mb"] for row in rows),
        compile=(min(warm), max(warm)),
        others=float(np.mean([row["other_cpu"] for row in rows])),
    )


def ratio(own: Timing, other: Timing, clock: str) -> float:
    """Ours by theirs: the median over rounds that both have, whose processes ran next to each other."""
    ours, theirs = getattr(own, clock), getattr(other, clock)
    shared = ours.keys() & theirs.keys()
    if not shared:
        return own.best(clock) / other.best(clock)
    return median(ours[number] / theirs[number] for number in shared)


def own_fastest(found: Iterable[Timing], clock: str) -> list[Timing]:
    """Our fastest mode in each configuration."""
    best: dict[str, Timing] = {}
    for t in sorted((t for t in found if t.package == OWN), key=lambda t: t.best(clock)):
        best.setdefault(t.config, t)
    return list(best.values())


def clock_of(threads: int, device: str = "cpu") -> str:
    """CPU time on one thread, which what else the machine does changes least; wall on several, and on a GPU."""
    return "cpu" if threads == 1 and device == "cpu" else "wall"


def markdown(found: Sequence[Timing], device: str = "cpu") -> str:
    """Tables by what is timed, number of threads and workload, with ratios of our fastest mode by each."""
    texts = []
    for what, title in TITLES.items():
        for threads in sorted({t.threads for t in found}):
            chosen = [t for t in found if t.what == what and t.threads == threads]
            if chosen:
                texts.append(_table(chosen, f"{title}, {threads} thread(s)", clock_of(threads, device)))
    return "\n\n".join(texts)


def _table(found: Sequence[Timing], title: str, clock: str) -> str:
    lines = [
        f"**{title}**",
        "",
        "| workload | atoms | pairs in 5 Å | package, mode | CPU, ms | wall, ms | memory, MiB | first calls, s | "
        "eqff by it |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for workload in dict.fromkeys(t.workload for t in found):
        group = sorted((t for t in found if t.workload == workload), key=lambda t: t.best(clock))
        own = own_fastest(group, clock)
        for t in group:
            by = "" if t in own else " / ".join(f"{ratio(ours, t, clock):.2f}" for ours in own)
            cells = [t.workload, t.atoms, t.edges, t.name, _spread(t.cpu), _spread(t.wall)]
            cells += [f"{t.memory:.0f}", f"{t.compile[0]:.0f}–{t.compile[1]:.0f}", by]
            lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    busy = max(t.others for t in found)
    if clock == "wall" and busy > QUIET:
        lines += ["", f"Other processes kept up to {busy:.1f} cores busy: these wall times say little."]
    return "\n".join(lines)


def _spread(rounds: dict[int, float]) -> str:
    values = sorted(rounds.values())
    middle = f"{median(values):.3g}" if median(values) < 1000 else f"{median(values):.0f}"
    return middle if len(values) == 1 else f"{middle} ({values[0]:.3g}–{values[-1]:.3g})"


@dataclass(frozen=True)
class Target:
    """What a ratio is meant to be: ours at most ``limit`` times the fastest mode of a package, or of any peer."""

    what: str
    package: str | None
    limit: float


TARGETS = (Target("train_step", "nequip", 1 / 3), Target("train_step", "mace", 1 / 10), Target("with_nl", None, 0.4))


def verdicts(found: Sequence[Timing], device: str = "cpu") -> list[str]:
    """One line for each target and workload that was measured."""
    lines = []
    cases = dict.fromkeys((t.what, t.workload, t.threads) for t in found)
    for target in TARGETS:
        for what, workload, threads in cases:
            group = [t for t in found if (t.what, t.workload, t.threads) == (what, workload, threads)]
            clock = clock_of(threads, device)
            peers = [t for t in group if t.package != OWN and target.package in (None, t.package)]
            if what != target.what or not peers:
                continue
            other = min(peers, key=lambda t: t.best(clock))
            for own in own_fastest(group, clock):
                value, memory = ratio(own, other, clock), own.memory / other.memory
                word = "met" if value <= target.limit else "not met"
                lines.append(
                    f"{workload}, {TITLES[what].split(',')[0].lower()}, {threads} thread(s), {clock}: {own.name} "
                    f"{value:.2f} of {other.name}; at most {target.limit:.2f} asked: {word}. Memory {memory:.2f}."
                )
    return lines


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float | None:
    """Of the power law through points, by least squares of logarithms; None with fewer than two sizes."""
    if len(set(sizes)) < 2:
        return None
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def growth(found: Sequence[Timing], device: str = "cpu") -> list[str]:
    """Exponents of cost by atoms over the boxes of water, for every package, mode and what was timed."""
    lines = []
    for key in dict.fromkeys((t.name, t.what, t.threads) for t in found):
        boxes = [t for t in found if (t.name, t.what, t.threads) == key and t.workload.startswith("water")]
        clock = clock_of(key[2], device)
        power = exponent([t.atoms for t in boxes], [t.best(clock) for t in boxes])
        if power is not None:
            span = f"{min(t.atoms for t in boxes)} to {max(t.atoms for t in boxes)} atoms"
            lines.append(f"{key[0]}, {key[1]}, {key[2]} thread(s), {clock}: N^{power:.2f} from {span}")
    return lines
