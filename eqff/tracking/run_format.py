"""The version of what a run folder holds; ``run.json`` names it."""

RUN_FORMAT = 1
"""0 named no format; 1 also has the number of parameters in ``run.json``. Readers refuse what is newer."""

PRUNED = "pruned.json"
"""Of a run that a search has ended, because it fell behind others."""
