"""The version of what a run folder holds; ``run.json`` names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RUN_FORMAT = 2
"""0 named no format; 1 also has the number of parameters in ``run.json``; from 2 on the hash of the data says where the
training set ends. Readers refuse what is newer."""

PRUNED = "pruned.json"
"""Of a run that a search has ended, because it fell behind others."""


def ended_by_search(result: Mapping[str, Any], pruned: Mapping[str, Any]) -> bool:
    """Whether a run was ended by a search, and not trained on since.

    Args:
        result: Its ``result.json``; empty if there is none.
        pruned: Its `PRUNED`; empty if there is none.
    """
    return bool(result and pruned) and pruned.get("step") == result.get("step")
