"""``python -m eqff.export``."""

from eqff.export.command import main

main()
