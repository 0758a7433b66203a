"""Numbers as text: as many digits as their spread allows."""

from __future__ import annotations

import math

from eqff.comparison.rows import Spread

_PLAIN = (1e-3, 1e6)


def number(value: float, digits: int = 4) -> str:
    """So many significant digits, without an exponent where that is readable."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    if not _PLAIN[0] <= abs(value) < _PLAIN[1]:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def spread_text(spread: Spread, expected: int) -> str:
    """Mean ± standard deviation, the latter with two digits; says over how many if that is not what is expected."""
    few = f" (n={spread.count})" if spread.count != expected else ""
    if spread.deviation is None:
        return number(spread.mean) + few
    if not (math.isfinite(spread.deviation) and spread.deviation > 0) or not _PLAIN[0] <= abs(spread.mean) < _PLAIN[1]:
        return f"{number(spread.mean)} ± {number(spread.deviation, 2)}{few}"
    decimals = max(0, 1 - math.floor(math.log10(spread.deviation)))
    decimals = min(decimals, max(0, 3 - math.floor(math.log10(abs(spread.mean)))))  # no digits beyond the fourth
    if spread.deviation < 0.5 * 10**-decimals:
        return f"{spread.mean:.{decimals}f} ± <{10**-decimals:.{decimals}f}{few}"
    return f"{spread.mean:.{decimals}f} ± {spread.deviation:.{decimals}f}{few}"


def whole(value: float) -> str:
    """Rounded, with separators of thousands."""
    return f"{value:,.0f}"
