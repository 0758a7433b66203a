"""How cost grows with size: Coulomb energies and forces, charge equilibration, and induced dipoles, of periodic water.

    python tools/scaling.py --folder /tmp/scaling --figure docs/figures/scaling.png

measures each point in a process of its own (tools/scaling_points.py), one after the other, and appends it to
FOLDER/points.jsonl; started again, it goes on with what is missing. Then it prints a table with fitted exponents.
With torch-pme installed, --with torch_pme times it beside, at equal accuracy and in turns.

Seconds are the best of several repetitions, wall and CPU; on a machine that does other things, trust CPU time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

SIZES = (192, 648, 1536, 3000, 6591, 12288, 24000, 52728)
KINDS = ("coulomb", "equilibration", "induction")
LARGE = 1000
"""Atoms from which on the mesh is used and an exponent is fitted."""

POINTS = Path(__file__).with_name("scaling_points.py")
Point = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    options = _parser().parse_args(arguments)
    kinds = [*(["beside"] if options.beside else []), *options.kinds]
    if options.beside and find_spec("torchpme") is None:
        print("error: --with torch_pme needs it: pip install torch-pme==0.5.0", file=sys.stderr)
        return 2
    path = options.folder / "points.jsonl"
    done = {_key(point): point for point in _read(path)}
    wanted = list(product(kinds, options.sizes, options.threads))
    for index, (kind, atoms, threads) in enumerate(wanted):
        print(f"\r[{index + 1}/{len(wanted)}] {kind}, {atoms} atoms, {threads} thread(s)   ", end="", file=sys.stderr)
        if (kind, atoms, threads) in done:
            continue
        job = {"kind": kind, "atoms": atoms, "threads": threads, "folder": str(options.folder)}
        job |= {
            "largest_reference": options.largest_reference,
            "chosen": _scaled(done.get((kind, atoms // 8, threads))),
        }
        point = _measure(job)
        done[_key(point)] = point
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(point) + "\n")
    print(file=sys.stderr)
    chosen = [done[key] for key in wanted]
    print("\n\n".join(tables(chosen)))
    if options.figure:
        print(f"\nfigure: {draw(chosen, options.figure)}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("scaling"), help="of points.jsonl and reference forces")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="ATOMS", help="3 k³ each")
    parser.add_argument("--threads", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--with", dest="beside", choices=["torch_pme"], help="a package to time beside")
    parser.add_argument(
        "--largest-reference", type=int, default=24000, metavar="ATOMS", help="to compute tight forces for"
    )
    parser.add_argument("--figure", type=Path, help="where to draw, e.g. scaling.png")
    return parser


def _measure(job: Point) -> Point:
    run = subprocess.run([sys.executable, str(POINTS), json.dumps(job)], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def _scaled(smaller: Point | None) -> Point | None:
    """Settings that were chosen for a box of half the length, for the whole one: twice the mesh points."""
    if smaller is None or "torch_pme" not in smaller or 8 * smaller["atoms"] < 10000:
        return None
    own, other = smaller["eqff"]["settings"], smaller["torch_pme"]["settings"]
    return {"eqff": own, "torch_pme": other | {"points": 2 * other["points"]}}


def _key(point: Point) -> tuple[str, int, int]:
    return point["kind"], point["atoms"], point["threads"]


def _read(path: Path) -> Iterable[Point]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def exponent(points: Sequence[Point], value: str = "cpu") -> float | None:
    """Of the power law through the large sizes, by least squares of logarithms; None with fewer than two."""
    large = [point for point in points if point["atoms"] >= LARGE]
    if len(large) < 2:
        return None
    return float(np.polyfit(np.log([p["atoms"] for p in large]), np.log([p[value] for p in large]), 1)[0])


def tables(points: Sequence[Point]) -> list[str]:
    """Markdown tables of all kinds, with a line of exponents each."""
    texts = []
    for kind, threads in dict.fromkeys((point["kind"], point["threads"]) for point in points):
        rows = [point for point in points if (point["kind"], point["threads"]) == (kind, threads)]
        write = _beside if kind == "beside" else _table
        texts.append(f"{kind}, {threads} thread(s)\n\n{write(rows)}")
    return texts


def _table(rows: Sequence[Point]) -> str:
    lines = ["| atoms | wall, s | CPU, s | memory, MiB | force error | iterations |", "|---|---|---|---|---|---|"]
    for row in rows:
        error = "" if row["force_error"] is None else f"{row['force_error']:.1e}"
        shown = (
            f"{row['wall']:.3g} | {row['cpu']:.3g} | {row['memory_mib']:.0f} | {error} | {row.get('iterations', '')}"
        )
        lines.append(f"| {row['atoms']} | {shown} |")
    powers = {name: exponent(rows, name) for name in ("wall", "cpu", "memory_mib")}
    told = [f"{name} {power:.2f}" for name, power in powers.items() if power is not None]
    return "\n".join(lines) + f"\n\nexponents from {LARGE} atoms on: {', '.join(told)}"


def _beside(rows: Sequence[Point]) -> str:
    lines = [
        "| atoms | CPU, s: eqff | torch-pme | ratio | memory, MiB: eqff | torch-pme | force error: eqff | torch-pme |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        own, other = row["eqff"], row["torch_pme"]
        seconds = f"{own['cpu']:.3g} | {other['cpu']:.3g} | {other['cpu'] / own['cpu']:.2f}"
        memory = f"{own['memory_mib']:.0f} | {other['memory_mib']:.0f}"
        errors = f"{own['force_error']:.1e} | {other['force_error']:.1e}"
        lines.append(f"| {row['atoms']} | {seconds} | {memory} | {errors} |")
    ratios = [row["torch_pme"]["cpu"] / row["eqff"]["cpu"] for row in rows]
    return "\n".join(lines) + f"\n\ntorch-pme by eqff, geometric mean: {np.exp(np.mean(np.log(ratios))):.2f}"


def draw(points: Sequence[Point], path: Path) -> Path:
    """CPU seconds and memory by size, log-log, each kind and number of threads a line."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from eqff.tracking.plots import COLOURS, GREY, STYLE, save_figure

    names = {
        "coulomb": "Coulomb energy and forces",
        "equilibration": "equilibration and forces",
        "induction": "induced dipoles and forces",
    }
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        panels = figure.subplots(1, 2)
        own = [(kind, threads) for kind in names for threads in sorted({p["threads"] for p in points})]
        for (kind, threads), colour in zip(own, COLOURS, strict=False):
            rows = [p for p in points if (p["kind"], p["threads"]) == (kind, threads)]
            if not rows:
                continue
            for panel, value in zip(panels, ("cpu", "memory_mib"), strict=True):
                label = f"{names[kind]}, {threads} thread{'s' if threads > 1 else ''}"
                panel.loglog(
                    [p["atoms"] for p in rows], [p[value] for p in rows], "o-", ms=3, color=colour, label=label
                )
        for panel, text in zip(panels, ("CPU time, s", "peak memory, MiB"), strict=True):
            ends = np.array([LARGE, max(p["atoms"] for p in points)], dtype=float)
            low = panel.get_ylim()[0] * 2.5
            panel.loglog(ends, low * ends / ends[0], "--", color=GREY, label="proportional to N")
            panel.set_xlabel("atoms")
            panel.set_ylabel(text)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return save_figure(figure, path)


if __name__ == "__main__":
    sys.exit(main())
