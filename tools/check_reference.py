"""Runs reference cases through eqff's layers: python tools/check_reference.py PATH...

A row for each quantity: worst deviation, tolerance, result. Exits with 1 if one fails, with 2 if there is nothing to
check. Topics that eqff has no layer for are shown as not implemented and counted; they neither pass nor fail.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a case (.json), or a folder of them")
    paths = parser.parse_args(arguments).paths

    from rich.console import Console

    from eqff.errors import DataError
    from eqff.testing.reference.case import find_cases
    from eqff.testing.reference.check import FAIL, check_cases, summary, table

    # a pipe has no width: rows must not be cut there
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    try:
        cases = find_cases(paths)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rows = check_cases(cases)
    console.print(table(rows))
    console.print(summary(rows))
    return int(any(row.status == FAIL for row in rows))


if __name__ == "__main__":
    sys.exit(main())
