"""Settings of all tests: reproducible, and quick on a machine that does other things too."""

import os
import random

import numpy as np
import pytest
import torch
from composing import compose_once
from hypothesis import settings

# several threads on a busy machine are slower than one, by up to ten times
torch.set_num_threads(1)

# kernels for a GPU run in Triton's interpreter where there is none; it asks for this when it is imported
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# W&B gives up on its own process after 30 s, which a busy machine may need to start it
os.environ.setdefault("WANDB__SERVICE_WAIT", "600")

# the same examples in every run; the first call of anything in torch takes longer than hypothesis' deadline
settings.register_profile("eqff", deadline=None, derandomize=True)
settings.load_profile("eqff")

compose_once()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Random numbers that a test draws without a seed don't depend on the tests before it, nor do those of fixtures."""
    torch.manual_seed(20260101)
    np.random.seed(20260101)
    random.seed(20260101)
