"""The end of a run: its numbers, figures and files, and the sentence that says how it went."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eqff.checkpoints.atomic import replacing
from eqff.checkpoints.metadata import eqff_version
from eqff.checkpoints.plain import plain
from eqff.simulation import result as results
from eqff.simulation.loop import LAST_GOOD, End, Run
from eqff.simulation.result import SimulationResult

RESULT_FILE = "result.json"


def finish(run: Run, end: End) -> SimulationResult:
    """The result, with its figures and files."""
    settings, folder, recorder = run.settings, run.folder, run.recorder
    recorder.finish()
    log = recorder.columns()
    files = {"log": recorder.log, "result": folder / RESULT_FILE}
    if len(log["step"]):
        files |= {"trajectory": recorder.trajectory}
    if len(log["step"]) and settings.figures:
        files |= results.figures(log, settings, len(run.atoms), recorder)
    if (folder / LAST_GOOD).exists():
        files["last_good"] = folder / LAST_GOOD
    doubts = run.doubts
    files |= doubts.files() if doubts else {}
    lists = run.atoms.calc.neighbours
    simulated = 0.0 if settings.ensemble == "relax" else run.step * settings.timestep
    outcome = SimulationResult(
        completed=not end.trouble and not end.signal and (settings.ensemble != "relax" or end.converged),
        message=_message(run, end),
        steps=run.step,
        simulated=simulated,
        averages=results.averages(log, settings, len(run.atoms)) | (doubts.summary() if doubts else {}),
        seconds=end.seconds,
        steps_per_second=end.steps / end.seconds if end.steps else 0.0,
        searches_per_step=lists.searches / max(lists.updates, 1),
        interrupted=bool(end.signal),
        log=log,
        files=files,
    )
    about = {"settings": asdict(settings), "eqff_version": eqff_version()}
    write_json(files["result"], about | outcome.to_dict())
    return outcome


def _message(run: Run, end: End) -> str:
    if end.trouble:
        return end.trouble
    if end.signal:
        return f"Stopped by {end.signal} after step {run.step}. To go on: resume={run.folder}"
    if run.settings.ensemble != "relax":
        picoseconds = run.step * run.settings.timestep / 1000
        return f"All {run.step} steps done: {picoseconds:g} ps of {run.settings.ensemble.upper()}."
    if end.converged:
        return f"Relaxed in {run.step} steps: no force is above {run.settings.relax_fmax:g} eV/Å."
    return (
        f"Not relaxed after {run.step} steps: a force is still above {run.settings.relax_fmax:g} eV/Å. To go on: "
        f"resume={run.folder} steps={2 * max(run.step, 1)}"
    )


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes plain values, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(plain(content), indent=1, ensure_ascii=False), encoding="utf-8")
