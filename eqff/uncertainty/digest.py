"""Which weights an uncertainty belongs to."""

from __future__ import annotations

import torch

from eqff.checkpoints.container import digest_tensors
from eqff.potential import Potential


def weights_digest(potential: Potential) -> str:
    """Of the weights as float32, so that a model loaded in another precision is the same one."""
    return digest_tensors({name: value.detach().to(torch.float32) for name, value in potential.named_parameters()})
