"""Settings of all tests: reproducible, and quick on a machine that does other things too."""

import os

import torch
from hypothesis import settings

# several threads on a busy machine are slower than one, by up to ten times
torch.set_num_threads(1)

# kernels for a GPU run in Triton's interpreter where there is none; it asks for this when it is imported
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# the same examples in every run; the first call of anything in torch takes longer than hypothesis' deadline
settings.register_profile("eqff", deadline=None, derandomize=True)
settings.load_profile("eqff")
