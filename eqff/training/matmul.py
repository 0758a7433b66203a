"""TF32: matrix products on a GPU whose factors are rounded to ten bits of mantissa, while a model is trained."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from eqff.errors import ConfigError

_LOG = logging.getLogger(__name__)


def check_tf32(wanted: bool, dtype: str) -> None:
    """Raises ConfigError where TF32 would mean nothing.

    Args:
        wanted: The setting.
        dtype: Of the weights, "float32" or "float64".
    """
    if wanted and dtype != "float32":
        raise ConfigError(f"tf32=true rounds products of float32 matrices, and dtype={dtype} has none. Leave one out.")


@contextmanager
def tf32_products(wanted: bool, device: str) -> Iterator[None]:
    """Allows TF32 in matrix products while the block runs; afterwards, and in evaluation, they are float32 again.

    Sums stay float32, and energies are added up in float64; measured errors are in docs/performance.md.

    Args:
        wanted: The setting; without it nothing is changed.
        device: "cuda" or "cpu"; a CPU has no such products, which is logged.
    """
    if wanted and device != "cuda":
        _LOG.warning("tf32=true has no effect on %s: products stay float32.", device)
    if not wanted or device != "cuda":
        yield
        return
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
