"""``python -m eqff.active``."""

from eqff.active.command import main

if __name__ == "__main__":
    main()
