"""The registry on the terminal: a table of all models, and everything about one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from eqff.registry.entry import ModelEntry
from eqff.registry.locate import is_here, place_of

_SHOWN_ERRORS = ("energy_mae", "forces_mae")


def listing(models: Mapping[str, ModelEntry]) -> Table:
    """A row for each model."""
    table = Table("name", "elements", "charges: 2S+1", "size", "licence", "test errors", "here", title="Models")
    for entry in models.values():
        errors = "\n".join(
            f"{name} {value}" for name, value in error_texts(entry).items() if name.endswith(_SHOWN_ERRORS)
        )
        here = "yes" if is_here(entry) else "no"
        cells = (" ".join(entry.elements), state_text(entry.states), size_text(entry.size), entry.licence, errors)
        table.add_row(entry.name, *cells, here)
    return table


def description(entry: ModelEntry) -> RenderableType:
    """Everything that the registry says about a model."""
    table = Table(show_header=False, box=None)
    rows = {
        "name": entry.name,
        "summary": entry.summary,
        "caution": entry.caution,
        "training data": entry.training_data,
        "level of theory": entry.method,
        "elements": " ".join(entry.elements),
        "charges: 2S+1": state_text(entry.states),
        "other states": {"warn": "are warned of", "refuse": "are refused", "allow": "are computed"}[entry.outside],
        "licence": entry.licence,
        "cite": entry.citation,
        "size": size_text(entry.size),
        "sha256": entry.sha256,
        "from": "\n".join(entry.urls),
        "here": _place(entry),
        "registry": str(entry.source),
    }
    for name, text in rows.items():
        if text:
            table.add_row(name, text)
    errors = Table("error", "value", title="Tests")
    for name, text in error_texts(entry).items():
        errors.add_row(name, text)
    return Group(table, errors) if entry.errors else table


def error_texts(entry: ModelEntry) -> dict[str, str]:
    """Errors with three digits and their unit."""
    texts = {}
    for name, value in entry.errors.items():
        number = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
        texts[name] = f"{number} {entry.units.get(name.rsplit('/', 1)[-1], '')}".strip()
    return texts


def state_text(states: Sequence[Sequence[int]]) -> str:
    """Multiplicities of each total charge, for example ``-1: 1 2; 0: 1 3``."""
    by_charge: dict[int, list[int]] = {}
    for charge, multiplicity in sorted(tuple(state) for state in states):
        by_charge.setdefault(charge, []).append(multiplicity)
    return "\n".join(f"{charge:+d}: {' '.join(map(str, spins))}" for charge, spins in by_charge.items())


def size_text(size: int) -> str:
    """Bytes with a unit."""
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


def _place(entry: ModelEntry) -> str:
    return str(place_of(entry) or f"no: eqff.load('{entry.name}') downloads it")
