"""Memory that is kept: large arrays that come again cost no new pages."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from eqff.interfaces.memory import keep_freed_memory

kept = keep_freed_memory() if sys.argv[1] == "keep" else None
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(6):
    before = faults()
    for size in (1_000_000, 4_000_000, 16_000_000):
        torch.ones(size)
print(kept, faults() - before)
"""


def faults(how):
    run = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    kept, count = run.stdout.split()
    return kept, int(count)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
def test_arrays_that_come_again_take_no_new_pages():
    kept, count = faults("keep")
    if kept == "False":
        pytest.skip("not glibc")
    assert count < 1000  # of 21,000 pages of 4 KiB
    assert faults("leave")[1] > 10_000  # what is asked for makes the difference
