"""Begins or goes on with one run of a sweep: ``python -m eqff.sweeps.one SWEEP_FOLDER RUN``.

What a launcher starts. Which of the two it is, is decided where and when the job starts: a queue may start it again.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from eqff.sweeps.planning import remembered
from eqff.sweeps.progress import Progress, command_for, progress


def main() -> None:
    """The command; it becomes the training, so that signals reach that."""
    folder, name = Path(sys.argv[1]), sys.argv[2]
    run = remembered(folder, name)
    if progress(run.folder) is Progress.FINISHED:
        return
    command = command_for(run)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
