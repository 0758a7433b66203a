"""The state of a run on disk: all that decides what comes next, so that a killed run goes on to the same bit."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch
from ase import Atoms

from eqff.checkpoints.atomic import replacing
from eqff.data.solves import ColdStarts
from eqff.errors import ModelError
from eqff.simulation import snapshot
from eqff.simulation.recorder import Marks

STATE_FILE = "state.npz"
_FORMAT = 1


@dataclass(frozen=True)
class SavedState:
    """A state as read from its file.

    Attributes:
        step: Steps done.
        degrees: Thermal degrees of freedom.
        marks: How long log and trajectory were.
        random: State of the noise.
        ase_version: That wrote it.
        model: Fingerprint of the model's weights.
        tree: What ASE's part keeps, see `eqff.simulation.snapshot`.
        arrays: By name in the file.
        solves: What iterative solves begin with, see `eqff.data.solves`; None for nothing.
    """

    step: int
    degrees: int
    marks: Marks
    random: dict[str, Any]
    ase_version: str
    model: str
    tree: dict[str, Any]
    arrays: dict[str, np.ndarray]
    solves: dict[str, Any] | None = None

    def place(self, atoms: Atoms) -> None:
        """Puts positions, momenta and cell back, without asking constraints."""
        atoms.arrays["positions"] = self.arrays["positions"].copy()
        atoms.set_array("momenta", self.arrays["momenta"].copy())
        atoms.cell[:] = self.arrays["cell"]

    def restore(self, part: object, rng: np.random.Generator) -> None:
        """Puts back what ASE's part keeps, and the state of the noise."""
        snapshot.give(part, self.tree, self._numbered("part"))
        rng.bit_generator.state = self.random

    def restore_solves(self, solves: ColdStarts) -> None:
        """Puts back what iterative solves begin with."""
        if self.solves is not None:
            solves.restore(self.solves, self._numbered("solves"))

    def _numbered(self, kind: str) -> list[np.ndarray]:
        count = sum(name.startswith(f"{kind}_") for name in self.arrays)
        return [self.arrays[f"{kind}_{number}"] for number in range(count)]


def save_state(
    folder: Path,
    *,
    step: int,
    degrees: int,
    marks: Marks,
    rng: np.random.Generator,
    atoms: Atoms,
    part: object,
    solves: tuple[dict[str, Any], list[np.ndarray]] | None,
    model: str,
) -> None:
    """Writes the state of a run, whole or not at all."""
    tree, arrays = snapshot.take(part)
    solved, solutions = solves or (None, [])
    about = {
        "format": _FORMAT,
        "step": step,
        "degrees": degrees,
        "marks": asdict(marks),
        "random": rng.bit_generator.state,
        "ase_version": ase.__version__,
        "model": model,
        "tree": tree,
        "solves": solved,
    }
    geometry = {"positions": atoms.positions, "momenta": atoms.get_momenta(), "cell": atoms.cell.array}
    numbered = {f"part_{number}": array for number, array in enumerate(arrays)}
    numbered |= {f"solves_{number}": array for number, array in enumerate(solutions)}
    with replacing(folder / STATE_FILE) as temporary:
        np.savez(temporary, about=np.array(json.dumps(about)), **geometry, **numbered)  # type: ignore[arg-type]


def load_state(folder: Path) -> SavedState:
    """The last saved state of a run.

    Raises:
        ModelError: There is none, or it can't be read.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        raise ModelError(f"'{folder}' can't be resumed: there is no {path}. Give the folder of a stopped simulation.")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(str(arrays.pop("about")))
        if about.pop("format") != _FORMAT:
            raise ModelError(f"{path} was written by another version of eqff. Start a new run from its last frame.")
        return SavedState(**about | {"marks": Marks(**about["marks"])}, arrays=arrays)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{path} is damaged ({error}). Start a new run from the last frame of the trajectory."
        ) from error


def fingerprint(potential: torch.nn.Module) -> str:
    """A hash of a model's weights and constants, their precision included."""
    digest = hashlib.sha256()
    for name, value in sorted(potential.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
