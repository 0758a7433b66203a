"""Times eqff's training step and inference on common workloads, beside other packages; one JSON line a result.

The harness of the comparison (``common.py``: workloads, clocks, JSON lines; its ``Peer`` is what every package derives
from) lies in a folder of its own, which ``PEERS_FOLDER`` names. Arguments are the harness's:

    PEERS_FOLDER=... python tools/bench_eqff.py --task train --workload ethanol32,aspirin5 --config matched --threads 1

Configurations: ``matched`` (``model=short_range`` with cutoff 5 Å, 2 passes, 64 channels, degree 2 in neighbour sums
and features, and symmetric many-body products as MACE has them), ``mixed`` (the same with eqff's default products),
``lean`` (matched with features of degree 1, as MACE's), all three trained by Adam as the other packages are;
``lean_muon``, trained by eqff's default optimizer; ``default`` (``model=short_range`` as a user gets it, Muon too), and
any other model as ``model=NAME`` or several overrides joined by ``;``, ``model=flagship`` for one.
Modes: ``eager``; for training ``compile``; for inference ``aot``: exported to machine code (`eqff.export`) into the
folder BENCH_EXPORTS, and taken from there the next time. BENCH_DEVICE=cuda times on a GPU.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from ase import Atoms
from benchmarks import models
from benchmarks.sizes import add_batches

import eqff
from eqff.interfaces.ase import EqffCalculator

if TYPE_CHECKING:
    from eqff.potential import Potential

SHORT_RANGE = "model=short_range"  # as the other packages: neither charge states nor long range
ADAM = "training/optimizer=adamw"  # the other packages' scripts train with Adam
SYMMETRIC = "model.backbone.products=symmetric"
CONFIGS = {
    "default": [SHORT_RANGE],
    "matched": [SHORT_RANGE, ADAM, SYMMETRIC, "model.backbone.hidden_degree=2"],
    "mixed": [SHORT_RANGE, ADAM, "model.backbone.hidden_degree=2"],
    "lean": [SHORT_RANGE, ADAM, SYMMETRIC],
    "lean_muon": [SHORT_RANGE, SYMMETRIC],
}
DEVICE = os.environ.get("BENCH_DEVICE", "cpu")
MODES = {"train": ("eager", "compile"), "infer": ("eager", "aot")}

if "PEERS_FOLDER" not in os.environ:
    raise SystemExit("Set PEERS_FOLDER to the folder with the comparison's common.py.")
sys.path.insert(0, os.environ["PEERS_FOLDER"])
import common  # noqa: E402


class Eqff(common.Peer):
    """eqff behind the harness's interface."""

    name, dist = "eqff", "eqff"
    modes = tuple(sorted({mode for modes in MODES.values() for mode in modes}))
    scale = 1.0  # of random weights

    def build(self, config: str, species: list[int]) -> Potential:
        """A model with random weights for some elements.

        Raises:
            ValueError: The mode is none of the task's.
        """
        if self.args.mode not in MODES[self.args.task]:
            raise ValueError(f"--mode {self.args.mode} does not exist for {self.args.task}: {MODES[self.args.task]}")
        overrides = CONFIGS.get(config, config.split(";"))
        if self.args.mode == "aot":
            return eqff.load(models.exported(overrides, species, self.args.seed, self.scale), trust_code=True)
        self.config = models.composed(overrides)
        return models.built(self.config, species, self.scale)[0].to(DEVICE)

    def note(self, config: str) -> str:
        """What the configuration changes."""
        return " ".join(CONFIGS.get(config, config.split(";")))

    def train_step(self, model: Potential, batches: list[list[Atoms]]) -> Callable[[int], None]:
        """Forward, forces, loss, backward and optimizer, on batches that are collated already."""
        from eqff.data.batching import collate
        from eqff.data.graph import graph_from_batch
        from eqff.interfaces.memory import keep_freed_memory
        from eqff.training.losses import Losses
        from eqff.training.module import atoms_per_structure
        from eqff.training.optimizers import build_optimizer

        keep_freed_memory()  # as the command does
        collated = [collate([_frame(atoms, model) for atoms in batch]).to(DEVICE) for batch in batches]
        losses = Losses.from_config(self.config["training"]["losses"])
        optimizer = build_optimizer(self.config["training"]["optimizer"], model)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if self.args.mode == "compile":
            model.compile_training_step()

        def step(k: int) -> None:
            batch = collated[k % len(collated)]
            optimizer.zero_grad(set_to_none=True)
            prediction = model(graph_from_batch(batch, model.dtype), forces=True)
            loss, _ = losses(prediction, batch, atoms_per_structure(batch), False)
            loss.backward(inputs=parameters)  # as in training: positions are leaves too
            optimizer.step()

        return _to_the_end(step)

    def infer(self, model: Potential, atoms: Atoms) -> tuple[Callable[[int], Any], Callable[[int], Any]]:
        """Energy, forces and (where periodic) stress: of a graph that is there, and through the ASE calculator."""
        from eqff.data.batching import collate
        from eqff.data.graph import graph_from_batch

        model.eval()
        graph = graph_from_batch(collate([_frame(atoms, model)]).to(DEVICE), model.dtype)
        stress = bool(atoms.pbc.any())

        def alone(k: int) -> None:
            model(graph, forces=True, stress=stress, create_graph=False)

        return _to_the_end(alone), common.ase_caller(atoms, self.calculator(model, atoms, skin=0.0), stress)

    def calculator(self, model: Potential, atoms: Atoms, **settings: Any) -> EqffCalculator:
        """For structures like this one."""
        return EqffCalculator(model, total_charge=0, multiplicity="lowest", **settings)


def _to_the_end(function: Callable[[int], None]) -> Callable[[int], None]:
    """The function with all kernels that it starts, which a GPU works on meanwhile."""
    if DEVICE == "cpu":
        return function

    def timed(k: int) -> None:
        function(k)
        torch.cuda.synchronize()

    return timed


def _frame(atoms: Atoms, model: Potential) -> Any:
    from eqff.data.atoms import from_atoms
    from eqff.data.neighbours import add_neighbours

    labelled = atoms.copy()
    labelled.info = {"energy": atoms.info["REF_energy"]} if "REF_energy" in atoms.info else {}
    if "REF_forces" in labelled.arrays:
        labelled.arrays["forces"] = labelled.arrays.pop("REF_forces")
    return add_neighbours(from_atoms(labelled, total_charge=0, multiplicity="lowest"), model.neighbour_lists)


if __name__ == "__main__":
    torch.set_default_dtype(torch.float32)
    add_batches(common.wl, ",".join(sys.argv))
    common.main(Eqff)
