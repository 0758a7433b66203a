"""Table of finished runs: python table.py OUTPUT_FOLDER."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

COLUMNS = {
    "test/energy_per_atom_rmse": "energy RMSE (meV/atom)",
    "test/energy_per_atom_mae": "energy MAE (meV/atom)",
    "test/forces_rmse": "force RMSE (meV/Å)",
    "test/forces_mae": "force MAE (meV/Å)",
}


def finished(output: Path) -> dict[str, list[float]]:
    """The columns' metrics of every run that came to its end, by its folder's name."""
    rows = {}
    for path in sorted(output.glob("seed*/result.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        if not result["interrupted"]:
            rows[path.parent.name] = [result["metrics"][name] for name in COLUMNS]
    return rows


def table(rows: dict[str, list[float]]) -> str:
    """A row for each seed; mean and standard deviation below."""
    lines = [f"| run | {' | '.join(COLUMNS.values())} |", "|---|" + "---:|" * len(COLUMNS)]
    lines += [f"| {name} | {' | '.join(f'{value:.3g}' for value in values)} |" for name, values in rows.items()]
    if len(rows) > 1:
        numbers = np.array(list(rows.values()))
        spread = zip(numbers.mean(axis=0), numbers.std(axis=0, ddof=1), strict=True)
        lines.append(f"| mean ± standard deviation | {' | '.join(f'{mean:.3g} ± {std:.1g}' for mean, std in spread)} |")
    return "\n".join(lines)


def main(output: Path) -> None:
    """Writes ``table.md`` and prints it, with what was left out of the data."""
    text = f"{table(finished(output))}\n\n{(output / 'left_out.txt').read_text(encoding='utf-8')}"
    (output / "table.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
