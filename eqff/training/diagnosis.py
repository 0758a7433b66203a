"""Where a number first stopped being finite, found by doing one step again with everything watched.

This costs nothing while all is well: it only runs once a loss or gradient has been found to be NaN or infinite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from eqff.compilation.prediction import uncompiled

if TYPE_CHECKING:
    from eqff.training.module import ForceFieldModule

ALL_FINITE = "Done again, uncompiled, this batch gave finite numbers throughout."
"""What is said of a step whose fault didn't come again (on this rank)."""


def diverged(module: ForceFieldModule, batch: Any, what: str, value: Tensor) -> str:
    """What to say when a step gave a number that is not finite: where, what, and how to go on.

    Args:
        module: In the middle of that step.
        batch: Of that step.
        what: "loss" or "gradient".
        value: The number.
    """
    trainer = module.trainer
    rate, clip = trainer.optimizers[0].param_groups[0]["lr"], trainer.gradient_clip_val
    earlier = _earlier(module, "loss" if what == "loss" else "gradient_norm")
    return (
        f"The {what} became {value.item()} at step {trainer.global_step + 1} (epoch {module.current_epoch + 1}). "
        f"{earlier}{first_bad_tensor(module, batch)} Structures of this batch: {'; '.join(describe_frames(batch))}. "
        "If their labels and geometries are right, training has diverged: lower "
        f"training.optimizer.lr (now {rate:.3g}) or trainer.gradient_clip_val (now {clip})."
    )


def diverged_in_validation(module: ForceFieldModule, losses: Sequence[Tensor]) -> str:
    """What to say when a validation's loss is not finite.

    Args:
        module: With the weights that are validated.
        losses: Of each batch.
    """
    index = int((~torch.stack(list(losses)).isfinite()).nonzero()[0])
    batch = next(islice(iter(module.trainer.val_dataloaders), index, None))
    batch = module.transfer_batch_to_device(batch, module.device, 0)
    return (
        f"The loss became {losses[index].item()} in the validation after step {module.trainer.global_step}. "
        f"{first_bad_tensor(module, batch)} Structures of this batch: {'; '.join(describe_frames(batch))}. "
        "If their labels and geometries are right, training has diverged: lower training.optimizer.lr or "
        "trainer.gradient_clip_val."
    )


def _earlier(module: ForceFieldModule, name: str) -> str:
    """On a GPU numbers are looked at once per row only: how many steps ago it began."""
    ago = module.window.ago(name)
    if not ago:
        return ""
    return (
        f"It began {ago} steps before, unseen because a GPU's numbers are read once per row: to see the first bad "
        "tensor, resume with trainer.log_every_n_steps=1. "
    )


class _Found(Exception):
    """Leaves a computation at the first bad tensor."""


def first_bad_tensor(module: ForceFieldModule, batch: Any) -> str:
    """Does a training step on a batch again, uncompiled, and says which tensor is the first that is not finite.

    Looked at in the order in which they come to be: weights, geometry, outputs of the model's modules, predicted
    fields, losses, and the gradient of each loss by each weight.

    Args:
        module: As it was in that step; it isn't changed.
        batch: Of that step.

    Returns:
        A sentence for people, with shape, number of bad values and the structures whose rows are bad where the tensor
        has a row per atom or structure.
    """
    try:
        with uncompiled():
            _walk(module, batch)
    except _Found as found:
        return str(found)
    return ALL_FINITE


def _walk(module: ForceFieldModule, batch: Any) -> None:
    def look(name: str, value: Tensor) -> None:
        _require_finite(name, value, batch)

    for name, value in module.potential.named_parameters():
        look(f"the weight '{name}' (the step before has spoilt it)", value)
    for name in ("positions", "cell"):
        look(f"the input '{name}'", batch[name])
    with _watched(module.potential, look):
        prediction = module(batch)
    for name, value in prediction.items():
        look(f"the predicted '{name}'", value)
    _, parts = module.losses(prediction, batch, batch.ptr[1:] - batch.ptr[:-1], module.second_stage)
    for name, part in parts.items():
        look(f"the loss of '{name}'", part)
    _look_at_gradients(module.potential, parts, look)


@contextmanager
def _watched(model: nn.Module, look: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Looks at what each submodule gives while the block runs."""
    handles = [
        part.register_forward_hook(lambda _, __, output, name=name: _look_all(look, f"the output of '{name}'", output))
        for name, part in model.named_modules()
        if name
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _look_at_gradients(model: nn.Module, parts: Mapping[str, Tensor], look: Callable[[str, Tensor], None]) -> None:
    names, weights = zip(*((n, p) for n, p in model.named_parameters() if p.requires_grad), strict=True)
    for field, part in parts.items():
        if not part.requires_grad:
            continue
        gradients = torch.autograd.grad(part, weights, retain_graph=True, allow_unused=True)
        for name, gradient in zip(names, gradients, strict=True):
            if gradient is not None:
                look(f"the gradient of the loss of '{field}' by '{name}'", gradient)


def _look_all(look: Callable[[str, Tensor], None], name: str, value: Any) -> None:
    for tensor in tensors(value):
        look(name, tensor)


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists, mappings and dataclasses."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from tensors(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from tensors(inner)
    elif is_dataclass(value) and not isinstance(value, type):
        for entry in fields(value):
            yield from tensors(getattr(value, entry.name))


def _require_finite(name: str, value: Tensor, batch: Any) -> None:
    if not value.is_floating_point():
        return
    bad = ~value.detach().isfinite()
    count = int(bad.sum())
    if not count:
        return
    kind = "NaN" if bool(value.detach().isnan().any()) else "infinite"
    where = _structures(bad, batch)
    raise _Found(
        f"The first tensor that is not finite is {name}: {count} of {value.numel()} values, {kind}, in shape "
        f"{list(value.shape)}{where}."
    )


def _structures(bad: Tensor, batch: Any) -> str:
    """Which structures bad rows belong to, where rows are atoms or structures and not all are bad."""
    if bad.ndim == 0:
        return ""
    rows = bad.reshape(bad.shape[0], -1).any(dim=1)
    if bool(rows.all()):
        return ""
    if len(rows) == len(batch.batch):
        indices = batch.batch[rows].unique().tolist()
    elif len(rows) == batch.num_graphs:
        indices = rows.nonzero().flatten().tolist()
    else:
        return ""
    described = describe_frames(batch)
    return f", in {'; '.join(described[index] for index in indices)}"


def describe_frames(batch: Any) -> list[str]:
    """Where each structure of a batch comes from: file, frame in it, and group if it has one."""
    frames = batch.frame.tolist()
    return [
        f"{source or 'structure'} frame {frame}" + (f" ({group})" if group else "")
        for source, frame, group in zip(batch.source, frames, batch.group, strict=True)
    ]
