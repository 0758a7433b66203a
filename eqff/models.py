"""The command that lists and describes pretrained models: ``python -m eqff.models [NAME]`` or ``eqff-models``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

_EPILOG = """\
Use one by its name: eqff.load("NAME"), python -m eqff.evaluate model=NAME ..., python -m eqff.simulate model=NAME ...
Published models of other packages go by an address, as sevenn://7net-0 (docs/other_models.md).

EQFF_REGISTRY  your registry files, or folders of them; ~/.local/share/eqff/models is always looked into
EQFF_CACHE     folder for downloads, instead of ~/.cache/eqff
EQFF_OFFLINE   1: only what is in the cache"""


def show(names: Sequence[str]) -> None:
    """Prints the table of all models, or everything about some.

    Raises:
        ConfigError: A registry can't be read.
        ModelFileError: There is no model of that name.
    """
    from rich.console import Console

    from eqff.registry.catalogue import catalogue, find_entry, registry_files
    from eqff.registry.texts import description, listing

    # a pipe has no width: cells must not be cut there
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 140)
    for name in names:
        console.print(description(find_entry(name)))
    if names:
        return
    models = catalogue()
    if models:
        console.print(listing(models))
        return
    files = "\n".join(f"  {path}" for path in registry_files())
    console.print(f"No pretrained models in\n{files}\npython tools/make_models.py makes some.", soft_wrap=True)


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    from eqff.command_line.run import without_traceback

    parser = argparse.ArgumentParser(
        prog="eqff.models",
        description="Lists pretrained models, or describes those that are named.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="to describe; without any, all are listed")
    without_traceback(show, parser.parse_args(argv).names)


if __name__ == "__main__":
    main()
