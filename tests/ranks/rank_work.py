"""What ranks do in tests. The same functions run in a single process for comparison."""

import os
import signal
import time

import lightning
import numpy as np
import torch
import torch.distributed as dist
from ase.calculators.singlepoint import SinglePointCalculator

from eqff.build import ModelContext, build_potential
from eqff.data.atomic_data import fill_missing_labels
from eqff.data.atoms import from_atoms
from eqff.data.loaders import make_loader
from eqff.data.neighbours import add_neighbours
from eqff.errors import DataError, EqffError, TrainingError
from eqff.ranks import group
from eqff.ranks.layout import Layout
from eqff.ranks.membership import membership
from eqff.ranks.strategy import trainer_arguments, unused_parameters
from eqff.testing.structures import one_of_each
from eqff.training.callbacks.averaging import WeightAveraging
from eqff.training.losses import Losses
from eqff.training.module import ForceFieldModule

CONTEXT = ModelContext((1, 6, 7, 8), reference_energies=dict.fromkeys((1, 6, 7, 8), -1.0))
HEAD = {"charges": {"_target_": "eqff.heads.charges.Charges"}}
MODELS = {
    "minimal": {
        "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone"},
        "terms": {"local": {"_target_": "eqff.terms.local.LocalEnergy"}},
    },
    "with charges": {
        "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone"},
        "heads": HEAD,
        "terms": {"local": {"_target_": "eqff.terms.local.LocalEnergy"}},
    },
    "flagship": {
        "backbone": {"_target_": "eqff.backbones.equivariant.EquivariantMessagePassing", "channels": 8},
        "terms": {
            "local": {"_target_": "eqff.terms.local.LocalEnergy"},
            "zbl": {"_target_": "eqff.terms.zbl.ZBLRepulsion", "inner": 0.5, "outer": 2.0, "relative": False},
        },
    },
}
LOSSES = {
    "energy": {"function": "huber", "per_atom": True},
    "forces": {"function": "l2", "weight": 3.0},
    "stress": {"function": "mse", "weight": 7.0},
}
OPTIMIZERS = {"muon": "eqff.training.optimizers.muon.Muon", "adamw": "AdamW"}
SPARSE = {0: ("forces",), 2: ("energy", "forces"), 4: ("energy",), 5: ("forces", "stress")}
"""Which labels are missing on which structure: shares then differ in every count."""


def frames(missing, count=7):
    """Structures of 1 to 7 atoms with random labels."""
    found = []
    for index, atoms in enumerate(list(one_of_each().values())[:count]):
        rng = np.random.default_rng(index)
        labels = {"energy": rng.normal(), "forces": rng.normal(size=(len(atoms), 3))}
        if atoms.pbc.all():
            labels["stress"] = rng.normal(size=6)
        atoms.calc = SinglePointCalculator(atoms, **labels)
        found.append(add_neighbours(from_atoms(atoms), {"local": 5.0}))
    fill_missing_labels(found)
    for index, names in missing.items():
        for name in names:
            found[index][name].fill_(torch.nan)
    return found


class Watched(ForceFieldModule):
    """Notes losses, and gradients before each step."""

    def on_fit_start(self):
        self.seen, self.gradients = [], []

    def _loss(self, *arguments):
        share, loss, parts = super()._loss(*arguments)
        self.seen.append(loss.detach().double())
        return share, loss, parts

    def on_before_optimizer_step(self, optimizer):
        self.gradients.append(
            {n: p.grad.detach().clone() for n, p in self.potential.named_parameters() if p.grad is not None}
        )


def make_module(model="minimal", dtype=torch.float64, losses=LOSSES, optimizer=None):
    torch.manual_seed(0)
    potential = build_potential(MODELS[model], CONTEXT, dtype)
    return Watched(potential, Losses.from_config(losses), optimizer or {"name": "SGD", "lr": 1e-3})


def fitted(module, loader, layout, callbacks=(), find_unused=False, validation=None, **arguments):
    """The module after a training through Lightning."""
    trainer = lightning.Trainer(
        **trainer_arguments(layout, find_unused),
        **arguments,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, loader, validation)
    return module


def step(
    layout, *, missing=None, model="minimal", dtype="float64", batch_size=7, accumulate=1, count=7, compiled=False
):
    """Losses and gradients of the first steps over an epoch."""
    module = make_module(model, getattr(torch, dtype))
    if compiled:  # the captured operations one by one
        module.potential.compile_training_step("none")
    shared = {"rank": group.rank(), "world_size": group.world_size()}
    loader = make_loader(frames(missing or {}, count), batch_size, shuffle=True, **shared)
    fitted(module, loader, layout, max_epochs=1, accumulate_grad_batches=accumulate)
    return torch.stack(module.seen), module.gradients


def train_with_average(layout, name):
    """Weights and their average after some epochs, and errors on validation batches that can't be shared evenly."""
    module = make_module(optimizer={"name": OPTIMIZERS[name], "lr": 0.01}, dtype=torch.float64)
    shared = {"rank": group.rank(), "world_size": group.world_size()}
    data = frames(SPARSE)
    loaders = make_loader(data, 3, shuffle=True, **shared), make_loader(data, 3, **shared)
    average = WeightAveraging(0.9)
    fitted(module, loaders[0], layout, [average], validation=loaders[1], max_epochs=3)
    weights = [p.detach().clone() for p in module.potential.parameters()]
    metrics = {name: float(value) for name, value in module.trainer.callback_metrics.items()}
    return weights, [a.clone() for a in average._average], metrics


def same_to_the_bit(tensors):
    """Whether all ranks hold the very same numbers."""
    return len(set(group.gather(b"".join(t.numpy().tobytes() for t in tensors)))) == 1


def unused(layout):
    """Names of parameters that no loss reaches, and what steps do all the same."""
    module = make_module("with charges", losses={"forces": {}})
    names = unused_parameters(module, frames({})[0])
    shared = {"rank": group.rank(), "world_size": group.world_size()}
    loader = make_loader(frames({}), 3, shuffle=True, **shared)
    fitted(module, loader, layout, find_unused=bool(names), max_epochs=1)
    return names, module.gradients[-1], len(module.gradients)


def failures_together():
    """What each rank raises when one of them, or several, fail."""
    outcomes = []
    for failing in ((), (1,), (0, 1)):
        try:
            with group.together():
                if group.rank() in failing:
                    raise DataError(f"rank {group.rank()}")
            outcomes.append("fine")
        except EqffError as error:
            outcomes.append(f"{type(error).__name__}: {error}")
    try:
        group.from_first(lambda: 1 / 0)
    except (ZeroDivisionError, group.FailedElsewhere) as error:
        outcomes.append(type(error).__name__)
    outcomes.append(group.from_first(lambda: f"from {group.rank()}"))
    row = {"a": 1.0 + group.rank()}
    group.add_over_ranks(row, ("a", "b"))
    outcomes.append(row)
    return outcomes


def everything(started, store, path):
    """All comparisons in one life of the ranks, because starting them takes longer than that; at last one fails."""
    torch.set_num_threads(1)
    layout = Layout("cpu", 2, started=started, ddp=True)
    with membership(layout, store):
        steps = {name: step(layout, **settings) for name, settings in STEPS.items()}
        trained = {name: train_with_average(layout, name) for name in OPTIMIZERS}
        results = {
            "steps": steps,
            "same gradients": {n: same_to_the_bit([g for d in s[1] for g in d.values()]) for n, s in steps.items()},
            "trained": trained,
            "identical": {n: same_to_the_bit([*weights, *average]) for n, (weights, average, _) in trained.items()},
            "unused": unused(layout),
            "failures": group.gather(failures_together()),
        }
        if group.is_first():
            torch.save(results, path)
        leave(raise_error)


STEPS = {
    "uneven": {},
    "sparse": {"missing": SPARSE},
    "one rank without forces": {"missing": {i: ("forces",) for i in range(6)}},
    "no labels of one kind": {"missing": {i: ("stress",) for i in range(7)}},
    "empty share": {"batch_size": 1},
    "last batch of one": {"missing": SPARSE, "batch_size": 3},
    "accumulated": {"missing": SPARSE, "batch_size": 2, "accumulate": 2},
    "float32": {"missing": SPARSE, "dtype": "float32"},
    "flagship": {"missing": SPARSE, "model": "flagship"},
    "compiled, accumulated": {"missing": SPARSE, "batch_size": 4, "accumulate": 2, "compiled": True},
    "flagship float32": {"missing": SPARSE, "model": "flagship", "dtype": "float32"},
}


def killed(started, store):
    """One rank is killed."""
    with membership(Layout("cpu", 2, started=started, ddp=True), store):
        leave(be_killed)


def leave(how):
    """The second rank leaves in some way while the first one waits for it."""
    dist.barrier()
    if group.rank() == 1:
        time.sleep(0.2)
        how()
    dist.barrier()


def raise_error():
    raise TrainingError("the second rank can't go on")


def be_killed():
    os.kill(os.getpid(), signal.SIGKILL)
