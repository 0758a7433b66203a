"""``python -m eqff.uncertainty``."""

from eqff.uncertainty.command import main

if __name__ == "__main__":
    main()
