"""Ranges of settings, as annotations: what a constructor declares is checked before anything starts.

    def __init__(self, channels: Count = 64, cutoff: Positive = 5.0, basis: Literal["bessel", "gaussian"] = "bessel")

Other ranges are written the same way: ``degree: Annotated[int, Interval(ge=0, le=4)]``; see `eqff.validation`.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Interval

Count = Annotated[int, Ge(1)]
"""1, 2, 3..."""

Size = Annotated[int, Ge(0)]
"""0, 1, 2..., where 0 leaves something out."""

Seed = Annotated[int, Interval(ge=0, lt=2**32)]
"""What every generator of random numbers takes."""

Positive = Annotated[float, Gt(0)]
"""Above zero."""

NonNegative = Annotated[float, Ge(0)]
"""Zero or above."""

Share = Annotated[float, Interval(ge=0, le=1)]
"""From 0 to 1."""

InnerShare = Annotated[float, Interval(gt=0, lt=1)]
"""Between 0 and 1, both left out."""
