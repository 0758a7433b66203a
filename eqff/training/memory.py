"""How much memory a training takes, and what to say when there is not enough."""

from __future__ import annotations

import sys
from typing import Any

import psutil
import torch

_GIB = 2**30
_ALLOCATOR = "can't allocate memory"  # of torch's RuntimeError on a CPU


def peak_memory() -> dict[str, float]:
    """Most memory that this process has held so far, in GiB: ``memory_gib``, with a GPU also ``gpu_memory_gib``."""
    peaks = {"memory_gib": _peak_resident() / _GIB}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        peaks["gpu_memory_gib"] = torch.cuda.max_memory_allocated() / _GIB
    return {name: round(value, 3) for name, value in peaks.items()}


def _peak_resident() -> int:
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a GPU or the machine has no more memory."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and _ALLOCATOR in str(error)
    )


def out_of_memory_message(error: BaseException, batch: Any, stage: str, batch_size: int) -> str:
    """What was too large, and what makes it smaller.

    Args:
        error: As raised.
        batch: The PyG batch that was worked on; None if it came to none.
        stage: "training" or "validation".
        batch_size: The setting that holds in this stage.
    """
    where = f"in {stage}" if batch is None else f"in {stage}, with a batch of {_size(batch)}"
    half = max(1, batch_size // 2)
    if stage == "training":
        fewer = f"data.batch_size={half} trainer.accumulate_grad_batches=2 (about the same steps with half the memory)"
    else:
        fewer = f"data.eval_batch_size={half}"
    return (
        f"Out of memory {where}. {_held()}. The allocator said: {_first_line(error)} "
        f"What helps, the first most: {fewer}; fewer model.backbone.channels; a smaller cutoff; for structures that "
        "are much larger than the others, leaving them out."
    )


def _size(batch: Any) -> str:
    atoms = (batch.ptr[1:] - batch.ptr[:-1]).cpu()
    largest = int(atoms.argmax())
    edges = sum(batch[name].shape[1] for name in batch.keys() if name.startswith("edge_index"))
    return (
        f"{len(atoms)} structures, {int(atoms.sum())} atoms, {edges} edges (largest: {int(atoms[largest])} atoms, "
        f"{batch.source[largest] or 'structure'} frame {int(batch.frame[largest])})"
    )


def _held() -> str:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        free, total = torch.cuda.mem_get_info()
        return f"The GPU has {total / _GIB:.1f} GiB, {free / _GIB:.1f} of them free"
    memory = psutil.virtual_memory()
    own = psutil.Process().memory_info().rss
    held = f"this process holds {own / _GIB:.1f}"
    return f"The machine has {memory.total / _GIB:.1f} GiB, {memory.available / _GIB:.1f} of them free; {held}"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{lines[0][:300]}" if lines else type(error).__name__ + "."
