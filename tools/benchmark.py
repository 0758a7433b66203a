"""Speed and memory of eqff beside other packages: rounds of processes that take turns, medians, ratios, exponents.

    python tools/benchmark.py --folder bench --peers-folder F --peers P --against nequip,mace --quick
    python tools/benchmark.py --folder bench --peers-folder F --sweep channels
    python tools/benchmark.py --folder bench --peers-folder F --roofline
    python tools/benchmark.py --folder bench --sweep long_range --openmm PYTHON --torch-pme PYTHON

F has the harness of the comparison (common.py, workload.py) and a bench_NAME.py for each peer, P a virtual environment
NAME for each. Every process is one package, task and mode and times all workloads (tools/bench_eqff.py, bench_peer.py);
packages take turns, every second round backwards. Results are appended to FOLDER/points.jsonl: started again, it goes
on with what is missing or has failed; --rounds 0 only shows what is there.

On one thread CPU milliseconds are compared, which other work on the machine changes least; on several threads and on a
GPU (--device cuda) wall time, for which the machine must be idle. A ratio is the median over rounds of ours by theirs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import long_range, sources, tables
from benchmarks.jobs import INFERENCE, OWN, TOOLS, TRAINING, Job, Places, comparison, mode_of
from benchmarks.run import Records, run_rounds
from benchmarks.sweeps import SWEEPS
from benchmarks.sweeps import table as sweep_table

from eqff.errors import EqffError

QUICK = {"infer": ("aspirin", "water192", "water1536"), "rounds": 3, "budget": 1.5, "minutes": 12.0}
"""Enough for the ratios in a quarter of an hour."""
LARGE = ("water648", "water5184")
GPU = {"train": ("ethanol250", "aspirin200"), "infer": ("aspirin", "water1536", "water5184", "water24000")}


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 1 if something has failed, 2 if something is missing."""
    options = _parser().parse_args(arguments)
    _fill(options)
    places = Places(options.peers_folder, options.peers, options.folder.absolute() / "cache", options.budget)
    records = Records(options.folder / "points.jsonl", sources.code())
    try:
        if options.sweep == "long_range":
            return int(long_range.run(options.folder, options.openmm, options.torch_pme) > 0)
        packages = [OWN, *(name for name in options.against.split(",") if name)]
        places.check(packages)
        sys.path.insert(0, str(places.folder))
        if options.roofline:
            print(_roofline(options, places))
            return 0
        jobs = _jobs(options, packages)
    except EqffError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    errors = run_rounds(jobs, options.rounds, places, records, options.minutes, options.job_seconds)
    if options.md:
        errors += _md(options, places, records)
    _report(options, jobs, records)
    for error in errors:
        print(f"\nfailed: {error}", file=sys.stderr)
    return 1 if errors else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--folder", type=Path, default=Path("bench"), help="of results and caches of compiled code")
    add("--peers-folder", type=Path, default=os.environ.get("PEERS_FOLDER"), help="of the harness; or PEERS_FOLDER")
    add("--peers", type=Path, default=os.environ.get("PEERS"), help="of the peers' environments; or PEERS")
    add("--against", default="", metavar="NAMES", help="peers, separated by commas, in turn with eqff")
    add("--train", nargs="*", metavar="WORKLOAD", help=f"default {' '.join(TRAINING)}; none: nothing is trained")
    add("--infer", nargs="*", metavar="WORKLOAD", help=f"default {' '.join(INFERENCE)}; none: no inference")
    add("--threads", type=int, nargs="+", default=[1], help="of each process, e.g. 1 2")
    add("--rounds", type=int, help="default 3")
    add("--budget", type=float, help="seconds of timed calls for each workload and round, default 2")
    add("--minutes", type=float, help="after which no process is started")
    add("--job-seconds", type=float, default=600.0, help="after which a process is given up")
    add("--mode", nargs="*", default=[], metavar="PACKAGE[.TASK]=MODE[,MODE]", help="else each package's fastest")
    add("--config", default="matched", help="of all packages' scripts")
    add("--own-config", nargs="*", default=[], metavar="CONFIG", help="of eqff's script instead, several in turn")
    add("--device", choices=["cpu", "cuda"], default="cpu")
    add("--quick", action="store_true", help="fewer boxes of water, at most a quarter of an hour")
    add("--md", action="store_true", help="also steps of molecular dynamics and the model's share of them")
    add("--sweep", choices=[*SWEEPS, "long_range"], help="eqff alone, one size changing")
    add("--openmm", type=Path, metavar="PYTHON", help="with --sweep long_range: an interpreter with OpenMM")
    add("--torch-pme", type=Path, metavar="PYTHON", help="the same with eqff and torch-pme")
    add("--roofline", action="store_true", help="operations and bytes of each kernel against the machine's ceilings")
    add("--json", type=Path, metavar="FILE", help="where to write medians and ratios")
    add("--figure", type=Path, metavar="FILE", help="where to draw, e.g. performance.png")
    return parser


def _fill(options: argparse.Namespace) -> None:
    """Defaults that depend on other options."""
    preset: dict[str, Any] = {"train": TRAINING, "infer": INFERENCE, "rounds": 3, "budget": 2.0, "minutes": None}
    preset |= QUICK if options.quick else {}
    preset |= GPU if options.device == "cuda" else {}
    for name, value in preset.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    for name in ("train", "infer"):
        if getattr(options, name) == ["none"]:
            setattr(options, name, ())
    for name in ("peers_folder", "peers"):
        setattr(options, name, Path(getattr(options, name) or "peers").absolute())


def _jobs(options: argparse.Namespace, packages: Sequence[str]) -> list[Job]:
    modes = dict(text.split("=", 1) for text in options.mode)
    settings = {"config": options.config, "device": options.device}
    if options.sweep:
        sweep = SWEEPS[options.sweep]
        own = {"mode": mode_of(OWN, "infer", modes), "threads": options.threads[0], "device": options.device}
        return [sweep.job(value, "infer", **own) for value in sweep.values]
    jobs = list(
        comparison(packages, options.train, options.infer, options.threads, modes, options.own_config, **settings)
    )
    if options.quick:  # growth with size needs large boxes, ratios don't
        own = {"mode": mode_of(OWN, "infer", modes).split(",")[0], "threads": options.threads[0], **settings}
        jobs.append(Job(OWN, "infer", LARGE, **own))
    return jobs


def _report(options: argparse.Namespace, jobs: Sequence[Job], records: Records) -> None:
    keys = {job.key for job in jobs}
    rows, old = records.current(keys)
    if old:
        print(f"Results of eqff in {records.path} with other code than now: {', '.join(old)}.", file=sys.stderr)
    if options.sweep:
        print(sweep_table(options.sweep, SWEEPS[options.sweep], jobs, rows, options.device))
        return
    found = tables.timings(rows)
    verdicts, growth = tables.verdicts(found, options.device), tables.growth(found, options.device)
    print(tables.markdown(found, options.device))
    for line in [*verdicts, *growth, *_md_lines(records)]:
        print(f"\n- {line}")
    if options.json:
        told = {"timings": [vars(t) for t in found], "targets": verdicts, "exponents": growth}
        options.json.write_text(json.dumps(told, indent=1), encoding="utf-8")
    if options.figure and found:
        from benchmarks.figure import draw

        print(f"\nfigure: {draw(found, options.figure, options.device)}")


def _md(options: argparse.Namespace, places: Places, records: Records) -> list[str]:
    """Steps of molecular dynamics, measured anew each time."""
    mode = mode_of(OWN, "infer", dict(text.split("=", 1) for text in options.mode)).split(",")[0]
    job = Job(OWN, "infer", ("water648",), mode=mode, threads=options.threads[0], device=options.device)
    command = [sys.executable, str(TOOLS / "bench_md.py"), "--threads", str(job.threads), "--mode", mode]
    done = subprocess.run(
        [*command, "--workload", "aspirin,water192,water648"],
        env=places.environment(job),
        capture_output=True,
        text=True,
        check=False,
    )
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    records.add(rows)
    return [] if done.returncode == 0 else [f"bench_md.py: {' | '.join(done.stderr.splitlines()[-3:])}"]


def _md_lines(records: Records) -> list[str]:
    latest = {(r["workload"], r["mode"], r["threads"]): r for r in records.rows() if r.get("what") == "md_step"}
    return [
        f"molecular dynamics of {workload} ({mode}, {threads} thread(s)): {1 / row['cpu_s']:.3g} steps per CPU second, "
        f"{100 * row['model_share']:.0f} % of it the model's, {row['searches']} searches in {row['steps']} steps"
        for (workload, mode, threads), row in latest.items()
    ]


def _roofline(options: argparse.Namespace, places: Places) -> str:
    os.environ |= {"PEERS_FOLDER": str(places.folder), "BENCH_DEVICE": options.device}
    from benchmarks.whole import roofline

    return roofline(options.config, options.infer, options.threads[0], options.device)


if __name__ == "__main__":
    sys.exit(main())
