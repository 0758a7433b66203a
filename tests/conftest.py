"""Settings of all tests: reproducible, and quick on a machine that does other things too."""

import torch
from hypothesis import settings

# several threads on a busy machine are slower than one, by up to ten times
torch.set_num_threads(1)

# the same examples in every run; the first call of anything in torch takes longer than hypothesis' deadline
settings.register_profile("eqff", deadline=None, derandomize=True)
settings.load_profile("eqff")
