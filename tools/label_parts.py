"""Label structures in parts: processes of this machine, or jobs of a queue, each running tools/make_labels.py.

    python tools/label_parts.py in.extxyz out.extxyz --parts 8 --workers 8 -- --method gfn2
    python tools/label_parts.py in.extxyz out.extxyz --parts 50 --launcher slurm --slurm timeout_min=240 \\
        --slurm partition=cpu -- --method pyscf --xc pbe0 --basis def2-svp

What follows ``--`` goes to make_labels.py. Parts lie in OUTPUT.parts/. The same command given again goes on: complete
parts are skipped, others continue from their journals. The output is written when all parts are complete.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parent))

from make_labels import companion, parse_option, read_frames, replace_file, write_frames

from eqff.command_line.run import without_traceback
from eqff.errors import DataError
from eqff.sweeps.driver import Outcome, run_jobs
from eqff.sweeps.launchers import Job, make_launcher
from eqff.sweeps.settings import SweepSettings

_TOOL = Path(__file__).resolve().parent / "make_labels.py"


def write_parts(source: Path, folder: Path, count: int) -> list[Path]:
    """Every count-th frame in one file, so that large and small structures are spread; same files, if there already."""
    frames = read_frames(source)
    count = min(count, len(frames))
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"part-{index:04d}.extxyz" for index in range(count)]
    for index, path in enumerate(paths):
        write_frames(path, frames[index::count])
    return paths


def merge(parts: list[Path], output: Path) -> tuple[int, int]:
    """All labelled parts as one file, in the order of the input but for frames that failed; how many of how many."""
    reports = [json.loads(companion(path, ".labels.json").read_text()) for path in map(labelled, parts)]
    columns = []
    for path, report in zip(map(labelled, parts), reports, strict=True):
        failed = {entry["frame"] for entry in report["failed"]}
        found = iter(read_frames(path) if path.exists() else [])
        columns.append([None if index in failed else next(found) for index in range(report["input"])])
    longest = max(map(len, columns))
    frames = [column[row] for row in range(longest) for column in columns if row < len(column)]
    write_frames(output, [atoms for atoms in frames if atoms is not None])
    failures = [
        {**entry, "frame": entry["frame"] * len(parts) + part}
        for part, report in enumerate(reports)
        for entry in report["failed"]
    ]
    whole = {**reports[0], "input": len(frames), "written": len(frames) - len(failures), "failed": failures}
    replace_file(companion(output, ".labels.json"), (json.dumps(whole, indent=1) + "\n").encode())
    return whole["written"], whole["input"]


def labelled(part: Path) -> Path:
    """Where a part's labels go."""
    return part.with_name(f"{part.stem}.labelled.extxyz")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Labels all parts and merges them; the exit code."""
    folder = arguments.output.with_name(f"{arguments.output.name}.parts")
    parts = write_parts(arguments.input, folder, arguments.parts)
    settings = SweepSettings(launcher=arguments.launcher, workers=arguments.workers, slurm=dict(arguments.slurm))
    jobs = (
        Job(part.stem, (sys.executable, str(_TOOL), str(part), str(labelled(part)), *arguments.rest)) for part in parts
    )
    outcome: Outcome = run_jobs(jobs, make_launcher(settings, folder / "logs"))
    wrong = {name: ending for name, ending in outcome.endings.items() if ending.code != 0}
    for name, ending in wrong.items():
        console.print(f"{name}: {ending} (log: {ending.log})", highlight=False, soft_wrap=True)
    done = {name for name, ending in outcome.endings.items() if ending.code == 0}  # others may have older labels
    left = [part.stem for part in parts if part.stem not in done]
    if outcome.signal is not None:
        return 128 + outcome.signal
    if left:
        raise DataError(f"{len(left)} of {len(parts)} parts are not complete. The same command goes on with them.")
    written, total = merge(parts, arguments.output)
    console.print(f"{arguments.output}: {written} of {total} frames written", highlight=False, soft_wrap=True)
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    cut = argv.index("--") if "--" in argv else len(argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--parts", type=int, default=8, help="how many jobs (default 8)")
    parser.add_argument("--launcher", choices=("local", "slurm"), default="local")
    parser.add_argument("--workers", type=int, help="jobs at a time; 1 locally, all on a queue")
    parser.add_argument("--slurm", type=parse_option, action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args(argv[:cut])
    arguments.rest = argv[cut + 1 :]
    return without_traceback(lambda given: run(given, Console(stderr=True)), arguments)


if __name__ == "__main__":
    sys.exit(main())
