"""What capturing and compiling raise."""

from __future__ import annotations

import subprocess

FAILURES = (
    RuntimeError,
    TypeError,
    ValueError,
    AssertionError,
    NotImplementedError,
    ImportError,
    AttributeError,
    KeyError,
    OSError,
    subprocess.SubprocessError,
)
"""PyTorch has no error of its own for it. ImportError to KeyError: what is called here is private, and a version may
lack it. The last two: compilers are programs, and write files to a disk that may be full."""
