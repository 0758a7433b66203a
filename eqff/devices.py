"""Where commands compute."""

from __future__ import annotations

import torch

from eqff.errors import ConfigError


def choose_device(name: str | None) -> torch.device:
    """The device of a command's ``device`` setting.

    Args:
        name: "auto" or None for a CUDA or ROCm device if there is one, else the CPU; or torch's own names.

    Raises:
        ConfigError: There is no such device here.
    """
    if name in (None, "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device: '{name}' is no device; give auto, cpu, cuda or cuda:1.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ConfigError(f"device: there is no '{name}' here ({count} CUDA devices); give device=cpu.")
    return device
