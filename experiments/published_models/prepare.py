"""Files for this experiment from a folder with MAD's `train.extxyz.gz` and `test.extxyz`: usage: prepare.py DATA OUTPUT

Left out are frames with elements that SevenNet doesn't cover, those of more than 40 atoms, for the CPU's sake, and
test frames with elements that no training frame has. Thirty training frames are taken to validate, so that all of their
elements remain in training.
Structures beside the original package are twenty of the test frames, as they come.
"""

import gzip
import io
import sys
from collections import Counter
from pathlib import Path

from ase.io import read, write

MISSING = {84, 85, 86, 87, 88}
"""Po, At, Rn, Fr, Ra: not in MPtrj."""
LARGEST = 40


def frames_of(path: Path) -> list:
    """Those of a file that are kept; ASE is slow on compressed files."""
    text = gzip.open(path, "rt").read() if path.suffix == ".gz" else path.read_text()
    frames = read(io.StringIO(text), ":", format="extxyz")
    kept = [atoms for atoms in frames if len(atoms) <= LARGEST and not MISSING & set(atoms.numbers.tolist())]
    print(f"{path.name}: {len(kept)} of {len(frames)} frames kept")
    return kept


def split_off(frames: list, count: int) -> tuple[list, list]:
    """Training frames, and some evenly spread ones to validate, of whose elements training frames remain."""
    left = Counter(number for atoms in frames for number in set(atoms.numbers.tolist()))
    chosen = set()
    for index in range(0, len(frames), max(len(frames) // (2 * count), 1)):
        elements = set(frames[index].numbers.tolist())
        if len(chosen) < count and all(left[number] > 1 for number in elements):
            chosen.add(index)
            left.subtract(elements)
    return [f for i, f in enumerate(frames) if i not in chosen], [f for i, f in enumerate(frames) if i in chosen]


def main(data: Path, output: Path) -> None:
    """Writes train.extxyz, val.extxyz, test.extxyz and beside.extxyz."""
    output.mkdir(parents=True, exist_ok=True)
    (train, val), everything = split_off(frames_of(data / "train.extxyz.gz"), 30), frames_of(data / "test.extxyz")
    known = {number for atoms in train for number in atoms.numbers.tolist()}
    test = [atoms for atoms in everything if known.issuperset(atoms.numbers.tolist())]
    print(f"{len(train)} frames train, {len(val)} validate, {len(test)} of {len(everything)} test")
    beside = [atoms.copy() for atoms in everything[:: len(everything) // 20][:20]]
    for name, frames in (("train", train), ("val", val), ("test", test), ("beside", beside)):
        for atoms in frames:
            atoms.info |= {"total_charge": 0}
            atoms.info["group"] = atoms.info.pop("subset", atoms.info.get("group"))
        write(output / f"{name}.extxyz", frames)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
