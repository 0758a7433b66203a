"""Trains the pretrained models and registers them: python tools/make_models.py [--cpu-seconds 3600]

    eqff-ions        charges and spin charges equilibrated inside of the passes, their Coulomb energy, nuclear repulsion
    eqff-ions-short  the same backbone, which sees total charge and multiplicity too, without charges and long range

Both learn from the ions that ship with eqff, on one thread. What is left is a model file and an entry of the registry
for each, with hash and test errors, in your own folder of models, whose entries go before those that ship with eqff;
elsewhere with --output, and EQFF_REGISTRY naming that folder. Started again, it goes on with what was stopped and skips
what is finished. The shipped ones were registered with --output eqff/registry --runs RUNS.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

from eqff.checkpoints import MODEL_FILE, ModelMetadata, read_metadata
from eqff.checkpoints.atomic import replacing
from eqff.registry.cache import sha256_of
from eqff.registry.catalogue import REGISTRY_FILE, read_registry, registry_text, user_models

COMMON = ("data=ions", "data.batch_size=16", "threads=1", "tracking=none")
ABOUT = {
    "licence": "MIT",
    "training_data": "ions: small molecules and ions in several charge and spin states, and pairs of them "
    "(eqff/datasets/ions/README.md)",
    "method": "spGFN2-xTB, doi 10.1021/acs.jctc.8b01176 and 10.1002/jcc.27185",
    "citation": "the method of the labels (see level of theory), and eqff",
    "caution": "For tests, tutorials and comparisons. Energies between charge states are not physical: ionisation "
    "energies and electron affinities of the labels are 4 to 6 eV too large.",
}


@dataclass(frozen=True)
class Recipe:
    """A model: one line about it, and what its training says beside `COMMON`."""

    summary: str
    overrides: tuple[str, ...]


RECIPES = {
    "eqff-ions": Recipe(
        "Flagship: neutral spin equilibration in the passes, their Coulomb energy beyond the short range, ZBL.",
        ("model=flagship", "+training.losses.charges.weight=10", "+training.losses.spin_charges.weight=10"),
    ),
    "eqff-ions-short": Recipe(
        "Short-range twin of eqff-ions: the same backbone with total charge and multiplicity, local energy, ZBL.",
        ("model=charge_embedding",),
    ),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the command line, trains, registers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="more settings of eqff.train, for all")
    parser.add_argument("--models", nargs="+", choices=RECIPES, default=list(RECIPES), help="by default all")
    parser.add_argument("--cpu-seconds", type=float, default=3600.0, help="of each training; %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=user_models(), help="of models and registry; %(default)s")
    parser.add_argument("--runs", type=Path, help="of the trainings; by default runs/ in the other")
    arguments = parser.parse_args(argv)
    for name in arguments.models:
        run = (arguments.runs or arguments.output / "runs") / name
        settings = (f"budget.cpu_seconds={arguments.cpu_seconds:g}", f"seed={arguments.seed}", *arguments.overrides)
        train(run, (*COMMON, *RECIPES[name].overrides, f"name={name}", *settings))
        register(name, run, arguments.output)
    if arguments.output != user_models():
        print(f"To use them: export EQFF_REGISTRY={arguments.output.resolve()}")
    print("python -m eqff.models lists them.")


def train(run: Path, overrides: Sequence[str]) -> None:
    """Trains in a process of its own, whose budget counts from its start; goes on with what was stopped."""
    result = run / "result.json"
    if result.is_file() and not json.loads(result.read_text(encoding="utf-8"))["interrupted"]:
        print(f"{run} is finished: it is taken as it is.")
        return
    begun = (run / "checkpoints" / "last.ckpt").is_file()
    words = [f"resume='{run}'"] if begun else [*overrides, f"output='{run}'"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "eqff.train", *words], env=environment)
    if done.returncode:
        sys.exit(done.returncode)


def register(name: str, run: Path, output: Path) -> None:
    """Copies the model file of a run to ``NAME.safetensors`` and writes its entry; other entries stay."""
    target, registry = output / f"{name}.safetensors", output / REGISTRY_FILE
    models: dict[str, Any] = {}
    if registry.is_file():
        read_registry(registry)  # a broken one is not written over
        models = json.loads(registry.read_text(encoding="utf-8"))["models"]
    with replacing(target) as temporary:
        shutil.copyfile(run / MODEL_FILE, temporary)
    models[name] = entry_of(target, read_metadata(target), RECIPES[name].summary)
    with replacing(registry) as temporary:
        temporary.write_text(registry_text(models), encoding="utf-8")
    read_registry(registry)
    print(f"{name}: {target}, entry in {registry}")


def entry_of(path: Path, about: ModelMetadata, summary: str) -> Mapping[str, Any]:
    """What the registry says of a model file in its own folder (`eqff.registry.ModelEntry`)."""
    training = about.training
    tested = {key: value for key, value in training["metrics"].items() if not key.startswith("val/")}
    return ABOUT | {
        "summary": summary,
        "sha256": sha256_of(path),
        "size": path.stat().st_size,
        "urls": [path.name],
        "elements": [chemical_symbols[z] for z in about.context["elements"]],
        "states": [[row["total_charge"], row["multiplicity"]] for row in training["states"]],
        "errors": {key: value for key, value in tested.items() if key.endswith(("_mae", "_rmse"))},
        "units": training["units"],
    }


if __name__ == "__main__":
    main()
