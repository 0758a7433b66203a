"""Workloads that the harness has no name for; without imports, so that any package's environment can load it."""

from __future__ import annotations

import re
from typing import Any

MOLECULES = ("ethanol", "aspirin")


def add_batches(workload: Any, names: str) -> None:
    """Lets the harness make training batches of any size, as "aspirin200": four of 200 molecules.

    Args:
        workload: The harness's module of workloads, whose ``TRAIN`` has molecule and size by name.
        names: Separated by commas; names that are no such batch are left to the harness.
    """
    for name in names.split(","):
        found = re.fullmatch(rf"({'|'.join(MOLECULES)})(\d+)", name)
        if found:
            workload.TRAIN.setdefault(name, (found[1], int(found[2])))
