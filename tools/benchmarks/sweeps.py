"""Cost of eqff's inference and training as one size of the model or structure changes, with fitted exponents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.jobs import OWN, Job
from benchmarks.tables import clock_of, exponent

Row = dict[str, Any]

MODEL = "model=short_range;model.backbone.hidden_degree={degree};model.backbone.degree={degree}"
BOX = "water648"


@dataclass(frozen=True)
class Sweep:
    """One size that changes.

    Attributes:
        title: In words.
        unit: What the exponent is of.
        values: In the order in which they are measured.
        config: Of the job for a value.
        workload: Of the job for a value.
    """

    title: str
    unit: str
    values: tuple[float, ...]
    config: str = "matched"
    workload: str = BOX

    def job(self, value: float, task: str, **settings: Any) -> Job:
        """What measures one value."""
        text = f"{value:g}"
        return Job(OWN, task, (self.workload.format(text),), config=self.config.format(text), **settings)


SWEEPS = {
    "atoms": Sweep("atoms of periodic water", "atoms", (192, 648, 1536, 5184), workload="water{}"),
    "edges": Sweep(
        "pairs within the cutoff (3 to 6 Å) of 648 atoms",
        "pairs",
        (3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0),
        config=MODEL.format(degree=2) + ";model.backbone.cutoff={}",
    ),
    "channels": Sweep(
        "channels", "channels", (16, 32, 64, 128, 256), config=MODEL.format(degree=2) + ";model.backbone.channels={}"
    ),
    "degree": Sweep(
        "components (L + 1)² for L = 0 to 3",
        "components",
        (0, 1, 2, 3),
        config=MODEL.replace("{degree}", "{0}"),
    ),
}
"""The sweep over long-range systems is tools/scaling.py's."""


def size(sweep: Sweep, name: str, value: float) -> float:
    """What the cost is compared with: the value itself, pairs within a cutoff, components of a degree."""
    if name == "edges":
        return pairs(sweep.workload, value)
    return (value + 1) ** 2 if name == "degree" else value


def pairs(workload: str, cutoff: float) -> float:
    """Ordered pairs within a cutoff in Å of the harness's box, images included."""
    import workload as harness  # of the comparison; its folder is on the path by then
    from ase.neighborlist import neighbor_list

    return float(len(neighbor_list("i", harness.system(workload), cutoff)))


def table(name: str, sweep: Sweep, jobs: Sequence[Job], rows: Iterable[Row], device: str) -> str:
    """Markdown, with a line of exponents over all sizes and over the larger half."""
    by_key: dict[str, list[Row]] = {}
    for row in rows:
        if "what" in row:
            by_key.setdefault(row["key"], []).append(row)
    points = [(value, job, by_key.get(job.key, [])) for value, job in zip(sweep.values, jobs, strict=True)]
    whats = list(dict.fromkeys(row["what"] for _, _, found in points for row in found))
    if not whats:
        return f"**{sweep.title}**: nothing was measured yet."
    clock = clock_of(jobs[0].threads, device)
    lines = [f"**{sweep.title}** ({jobs[0]}, {clock} time)", ""]
    lines += [f"| {sweep.unit} | " + " | ".join(f"{what}, ms" for what in whats) + " | memory, MiB |"]
    lines += ["|" + "---|" * (len(whats) + 2)]
    series: dict[str, list[tuple[float, float]]] = {what: [] for what in whats}
    for value, _, found in points:
        if not found:
            continue
        number = size(sweep, name, value)
        cells = []
        for what in whats:
            field = "cpu_s" if clock == "cpu" else "s_per_step"
            taken = [1e3 * row[field] for row in found if row["what"] == what]
            cells.append(f"{median(taken):.3g}" if taken else "")
            series[what] += [(number, median(taken))] if taken else []
        memory = max(row["peak_rss_mb"] for row in found)
        lines.append(f"| {number:g} | " + " | ".join(cells) + f" | {memory:.0f} |")
    told = [f"{what} {_powers(series[what])}" for what in whats if len(series[what]) > 1]
    return "\n".join([*lines, "", f"exponents: {'; '.join(told)}"])


def _powers(points: Sequence[tuple[float, float]]) -> str:
    power = exponent(*zip(*points, strict=True))
    upper = points[len(points) // 2 :]
    last = exponent(*zip(*upper, strict=True)) if len(upper) > 1 else None
    return f"{power:.2f}" + ("" if last is None else f" ({last:.2f} over the larger half)")
