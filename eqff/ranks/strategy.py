"""Lightning's strategy for a layout of ranks, and what `DistributedDataParallel` has to be told about a model."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.plugins.environments import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from eqff.data.atomic_data import AtomicData
from eqff.data.batching import collate
from eqff.data.graph import graph_from_batch
from eqff.derivatives import differentiate
from eqff.ranks.layout import Layout

if TYPE_CHECKING:
    from eqff.training.module import ForceFieldModule

# buffers are constants, the same everywhere: sending them before each step would be in vain (torch 2.13 has a new name)
_SYNC_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel).parameters
)


def trainer_arguments(layout: Layout, find_unused: bool) -> dict[str, Any]:
    """Arguments of Lightning's trainer.

    Args:
        layout: Of the ranks.
        find_unused: Whether some parameters get no gradient; DDP then looks for them in every step.
    """
    chosen = {
        "accelerator": layout.accelerator,
        "devices": layout.devices,
        "num_nodes": layout.num_nodes,
        "use_distributed_sampler": False,  # the loaders have their own, which repeats no structure
    }
    if not layout.ddp:
        return chosen | {"strategy": "auto"}
    options = {"find_unused_parameters": find_unused, _SYNC_BUFFERS: False}
    if layout.started is not None:  # its place stands in the environment in torchrun's words, whoever has started it
        options["cluster_environment"] = TorchElasticEnvironment()
    return chosen | {"strategy": DDPStrategy(**options)}


def unused_parameters(module: ForceFieldModule, frame: AtomicData) -> list[str]:
    """Names of the trainable parameters that get no gradient from the losses.

    Args:
        module: The model with its losses, on the CPU.
        frame: A structure with neighbour lists, to try it on.
    """
    batch = collate([frame])
    graph, potential, losses = graph_from_batch(batch, module.potential.dtype), module.potential, module.losses
    if losses.derivatives:
        prediction = differentiate(potential.energy, graph, stress=losses.stress, create_graph=True)
    else:
        prediction = potential(graph, forces=False)
    loss, _ = losses(prediction, batch, batch.ptr[1:] - batch.ptr[:-1], False)
    named = [(name, p) for name, p in potential.named_parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss, [p for _, p in named], allow_unused=True)
    return [name for (name, _), gradient in zip(named, gradients, strict=True) if gradient is None]
