"""The models that are timed: of a config with random weights, or exported to a file.

    python tools/benchmarks/models.py "model=short_range" 1,6,8 FILE.pt2 [seed [scale]]

exports one. Measurements of exported models start this as a process of its own, so that theirs holds only what a user's
simulation would.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

NEIGHBOURS = 15.0


def composed(overrides: Sequence[str]) -> dict[str, Any]:
    """The training config with overrides."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from eqff.config import config_directory

    with initialize_config_dir(str(config_directory()), version_base="1.3"):
        return OmegaConf.to_container(compose("train", overrides=["data.path=none", *overrides]), resolve=False)


def built(config: dict[str, Any], species: Sequence[int], scale: float = 1.0) -> tuple[Any, Any]:
    """A model of random weights times ``scale`` for some elements, and its context."""
    import torch

    from eqff.build import ModelContext, build_potential

    context = ModelContext(tuple(species), dict.fromkeys(species, 0.0), mean_neighbours=NEIGHBOURS)
    potential = build_potential(config["model"], context)
    with torch.no_grad():
        for weight in potential.parameters():
            weight.mul_(scale)
    return potential, context


def exported(overrides: Sequence[str], species: Sequence[int], seed: int, scale: float = 1.0) -> Path:
    """The exported model's file in the folder BENCH_EXPORTS, made if this config, eqff and torch have none there."""
    import torch

    from benchmarks import sources

    # compiled code has the number of threads in it
    what = (tuple(overrides), tuple(species), seed, scale, torch.__version__, torch.get_num_threads(), sources.digest())
    known = hashlib.sha256(repr(what).encode())
    file = Path(os.environ.get("BENCH_EXPORTS", tempfile.gettempdir())) / f"bench_eqff_{known.hexdigest()[:16]}.pt2"
    if not file.exists():
        told = [";".join(overrides), ",".join(map(str, species)), str(file), str(seed), str(scale)]
        done = subprocess.run([sys.executable, __file__, *told], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"export failed: {' | '.join(done.stderr.splitlines()[-3:])}")
    return file


def _export(overrides: str, species: str, file: str, seed: str = "0", scale: str = "1.0") -> None:
    import torch

    from eqff.checkpoints import save_model
    from eqff.export.export import export_model

    torch.manual_seed(int(seed))
    config = composed(overrides.split(";"))
    potential, context = built(config, [int(number) for number in species.split(",")], float(scale))
    model = Path(file).with_suffix(".safetensors")
    save_model(model, potential, model_config=config["model"], context=context)
    export_model(model, file)


if __name__ == "__main__":
    _export(*sys.argv[1:])
