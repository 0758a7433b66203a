"""What capturing and compiling raise."""

from __future__ import annotations

FAILURES = (
    RuntimeError,
    TypeError,
    ValueError,
    AssertionError,
    NotImplementedError,
    ImportError,
    AttributeError,
    KeyError,
)
"""PyTorch has no error of its own for it. The last three: what is called here is private, and a version may lack it."""


def reason(error: BaseException) -> str:
    """The first line of an error's message, or its name."""
    return (str(error).strip().splitlines() or [repr(error)])[0]
