"""Run folders made from a real one: other settings, other errors, other data, cut off where it was killed."""

import json
import shutil

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from omegaconf import OmegaConf


def frames(count, seed=0):
    """Diatomics on a harmonic spring, in two groups."""
    rng = np.random.default_rng(seed)
    result = []
    for index in range(count):
        length = 0.75 + 0.1 * rng.normal()
        atoms = Atoms("H2", positions=[[0, 0, 0], [length, 0, 0]])
        atoms.info = {"total_charge": 0, "multiplicity": 1, "group": "ab"[index % 2]}
        pull = 20.0 * (length - 0.75)
        forces = [[pull, 0, 0], [-pull, 0, 0]]
        energy = -31.0 + 10.0 * (length - 0.75) ** 2
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        result.append(atoms)
    return result


def change_run(source, target, config=None, errors=None, drop=(), json_files=None):
    """Copies a run folder and changes it.

    ``config``: full names of settings to values; ``errors``: metrics of ``result.json`` to values, None takes one away;
    ``drop``: files or folders to delete; ``json_files``: file to a function that changes its content in place.
    """
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("wandb", "wandb_run.json", "checkpoints"))
    cfg = OmegaConf.load(target / "config.yaml")
    for name, value in {"output": str(target), **(config or {})}.items():
        OmegaConf.update(cfg, name, value, force_add=True)
    OmegaConf.save(cfg, target / "config.yaml")

    def with_errors(content):
        content["metrics"] = {k: v for k, v in {**content["metrics"], **(errors or {})}.items() if v is not None}

    for name, change in {"result.json": with_errors, **(json_files or {})}.items():
        path = target / name
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")
    for name in drop:
        path = target / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return target


def setter(*keys, value):
    """A function that sets one entry of nested mappings."""

    def change(content):
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change
