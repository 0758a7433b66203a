"""Files for this experiment from a folder with MAD's `train.extxyz.gz` and `test.extxyz`: usage: prepare.py DATA OUTPUT

Left out are frames with elements that SevenNet doesn't cover, and those of more than 40 atoms, for the CPU's sake.
Structures beside the original package are twenty of the test frames, as they come.
"""

import gzip
import io
import sys
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


def main(data: Path, output: Path) -> None:
    """Writes train.extxyz, test.extxyz and beside.extxyz."""
    output.mkdir(parents=True, exist_ok=True)
    train, test = frames_of(data / "train.extxyz.gz"), frames_of(data / "test.extxyz")
    for name, frames in (("train", train), ("test", test), ("beside", test[:: len(test) // 20][:20])):
        for atoms in frames:
            atoms.info |= {"total_charge": 0}
            atoms.info["group"] = atoms.info.pop("subset", atoms.info.get("group"))
        write(output / f"{name}.extxyz", frames)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
