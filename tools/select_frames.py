"""Choose structures that are worth a label, from a pool or from the trajectory of a simulation.

    python tools/select_frames.py pool.extxyz chosen.extxyz --count 100 --model runs/a runs/b runs/c
    python tools/select_frames.py md/trajectory.extxyz chosen.extxyz --count 50 --model runs/a/uncertainty.safetensors
    python tools/select_frames.py pool.extxyz chosen.extxyz --count 50 --model runs/a --known train.extxyz \
        --strategy worst_clusters --errors valid.extxyz
    python tools/make_labels.py chosen.extxyz labelled.extxyz --method gfn2

Labels of the pool, if it has any, are neither looked at nor written (--keep-labels writes them). Every chosen
structure says where it stood in the pool (``pool_index``) and how uncertain the model is about it (``uncertainty``,
eV/Å, the largest of a force on any of its atoms).

strategies
  uncertain_diverse  farthest-point sampling in learned features, distances times uncertainties (default)
  uncertain          the most uncertain
  diverse            farthest-point sampling
  worst_clusters     from clusters of learned features in proportion to their squared errors on --errors
  random             at random
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

# Not called select.py: Python would find it in place of its own module "select" in every script of this folder.


def parser() -> argparse.ArgumentParser:
    """Return the command line parser."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("pool", nargs="+", help="structures to choose from (all but the last argument)")
    p.add_argument("output", type=Path, help="chosen structures, .extxyz")
    p.add_argument("--model", nargs="+", default=[], help="run folder, model file or name; several are an ensemble")
    p.add_argument("--count", type=int, required=True, help="how many")
    p.add_argument("--strategy", default="uncertain_diverse", help="see above")
    p.add_argument(
        "--known", nargs="+", default=[], help="structures with labels already: never chosen, kept away from"
    )
    p.add_argument("--errors", nargs="+", default=[], help="labelled structures, for worst_clusters")
    p.add_argument("--clusters", type=int, default=8, help="how many, for worst_clusters (default 8)")
    p.add_argument("--total-charge", type=float, help="e, of frames that state none")
    p.add_argument("--multiplicity", type=float, help="2S+1, of frames that state none")
    p.add_argument("--keep-labels", action="store_true", help="write the labels that the pool has")
    p.add_argument("--seed", type=int, default=0, help="of random (default 0)")
    return p


def run(args: argparse.Namespace, console: Console) -> None:
    """Choose and write."""
    from eqff.active.selecting import select, write_selection
    from eqff.data.reading import read_frames
    from eqff.errors import ConfigError
    from eqff.uncertainty.loading import load

    if args.count < 1:
        raise ConfigError(f"--count is {args.count}, but must be 1 or more.")
    state = {"total_charge": args.total_charge, "multiplicity": args.multiplicity}
    pool, known, errors = (
        [*read_frames(files, **state)] if files else [] for files in (args.pool, args.known, args.errors)
    )
    model = load(args.model if len(args.model) > 1 else args.model[0]) if args.model else None
    selection = select(
        pool,
        args.count,
        strategy=args.strategy,
        potential=model,
        known=known,
        errors=errors,
        clusters=args.clusters,
        seed=args.seed,
    )
    write_selection(args.output, selection, labels=args.keep_labels)
    console.print(f"{args.output}: {len(selection.frames)} of {len(pool)} structures, {args.strategy}")
    if selection.uncertainty is not None and selection.pool_uncertainty is not None:
        mean, largest = selection.pool_uncertainty
        console.print(
            f"largest uncertainty of a force in a structure: mean {selection.uncertainty.mean():.3g} eV/Å of those "
            f"chosen, {mean:.3g} of all (largest {largest:.3g})"
        )


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    from eqff.errors import EqffError

    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    try:
        run(parser().parse_args(argv), console)
    except EqffError as error:
        console.print(f"error: {error}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
