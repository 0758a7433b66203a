"""Memory that is kept: large arrays that come again cost no new pages."""

import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from eqff.interfaces.memory import keep_freed_memory

faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def of_the_last_round():
    for _ in range(6):
        before = faults()
        for size in (1_000_000, 4_000_000, 16_000_000):
            torch.ones(size)
    return faults() - before

print(of_the_last_round(), keep_freed_memory(), of_the_last_round())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
def test_arrays_that_come_again_take_no_new_pages():
    run = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    left, kept, count = run.stdout.split()
    if kept == "False":
        pytest.skip("not glibc")
    assert int(count) < 1000  # of 21,000 pages of 4 KiB
    assert int(left) > 20 and int(left) > 10 * int(count)  # what is asked for makes the difference, also to large pages
