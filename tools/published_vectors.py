"""Symmetry functions by the codes that published them, for tests/backbones/fixtures.

    python tools/published_vectors.py torchani tests/backbones/fixtures/torchani.json
    python tools/published_vectors.py dscribe tests/backbones/fixtures/dscribe.json
    python tools/published_vectors.py deepmd tests/backbones/fixtures/deepmd.json

Each in an environment that has the package: torchani 2.2 or later, dscribe, deepmd-kit 3 or later.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.data import atomic_numbers
from ase.geometry import get_distances

ANI = {"ani1x": ["H", "C", "N", "O"], "ani2x": ["H", "C", "N", "O", "S", "F", "Cl"]}
G2 = [[0.1, 0.0], [1.0, 1.5]]
G4 = [[0.03, 1.0, 1.0], [0.03, 1.0, -1.0], [0.03, 4.0, 1.0], [0.03, 4.0, -1.0]]


def crystal(symbols: list[str], rng: np.random.Generator) -> Atoms:
    """Atoms at random places, none within 0.95 Å of another, in an oblique cell that is smaller than the cutoffs."""
    cell, positions = np.array([[3.9, 0.2, 0.1], [-0.6, 4.1, 0.3], [0.4, 0.5, 4.3]]), np.zeros((1, 3))
    while len(positions) < len(symbols):
        new = rng.random(3) @ cell
        if get_distances(new[None], positions, cell=cell, pbc=True)[1].min() > 0.95:
            positions = np.vstack([positions, new])
    return Atoms(symbols, positions, cell=cell, pbc=True)


def structures(symbols: list[str]) -> list[Atoms]:
    """A molecule out of its minimum, a linear one, and a crystal of all elements."""
    rng = np.random.default_rng(7)
    bent = molecule("CH3OH")
    bent.positions = np.round(bent.positions + rng.normal(0, 0.1, bent.positions.shape), 6)
    found = [bent, molecule("HCN"), crystal(symbols, rng)]
    for atoms in found:
        atoms.positions = np.round(atoms.positions, 6)
    return found


def by_torchani() -> dict:
    """Vectors of ANI-1x and ANI-2x, in double precision."""
    import torch
    import torchani

    result = {}
    for name, symbols in ANI.items():
        like = {"ani1x": "like_1x", "ani2x": "like_2x"}[name]
        computer = getattr(torchani.AEVComputer, like)().to(torch.float64)
        frames = []
        for atoms in structures(symbols):
            species = torch.tensor([[symbols.index(symbol) for symbol in atoms.symbols]])
            positions = torch.tensor(atoms.positions)[None]
            periodic = (torch.tensor(atoms.cell.array), torch.tensor([True] * 3)) if atoms.pbc.any() else (None, None)
            found = computer(species, positions, *periodic)
            found = found if isinstance(found, torch.Tensor) else found.aevs
            frames.append(_frame(atoms, found[0].numpy()))
        result[name] = {"elements": [atomic_numbers[symbol] for symbol in symbols], "frames": frames}
    return {"version": version("torchani"), **result}


def by_dscribe() -> dict:
    """G2 and G4 of H, C, N, O."""
    from dscribe.descriptors import ACSF

    symbols = ANI["ani1x"]
    acsf = ACSF(r_cut=4.0, g2_params=G2, g4_params=G4, species=symbols, periodic=True)
    frames = [_frame(atoms, acsf.create(atoms)) for atoms in structures(symbols)]
    return {"version": version("dscribe"), "g2": G2, "g4": G4, "frames": frames}


def by_deepmd() -> dict:
    """DeepPot-SE of H, C, N, O with embedding networks of pairs of elements, and their weights."""
    from deepmd.dpmodel.descriptor.se_e2_a import DescrptSeA
    from deepmd.dpmodel.utils.nlist import extend_input_and_build_neighbor_list

    symbols, most = ANI["ani1x"], [30] * 4
    descriptor = DescrptSeA(4.0, 1.0, most, neuron=[3, 6, 6], axis_neuron=2, type_one_side=False, seed=1)
    networks = descriptor.serialize()["embeddings"]["networks"]
    # by element of centre and of neighbour, the former runs first
    weights = [[_layer(layer["@variables"]) for layer in network["layers"]] for network in networks]
    frames = []
    for atoms in structures(symbols):
        kinds = np.array([[symbols.index(symbol) for symbol in atoms.symbols]])
        box = atoms.cell.array.reshape(1, 9) if atoms.pbc.any() else None
        extended = extend_input_and_build_neighbor_list(atoms.positions.reshape(1, -1), kinds, 4.0, most, box=box)
        positions, kinds, mapping, neighbours = extended
        vectors = descriptor.call(positions.reshape(1, -1), kinds, neighbours, mapping)[0][0]
        frames.append(_frame(atoms, vectors, decimals=16))  # divided by the square of the most neighbours
    return {"version": version("deepmd-kit"), "neighbours": sum(most), "weights": weights, "frames": frames}


def _layer(variables: dict) -> dict:
    return {name: np.asarray(variables[name]).tolist() for name in ("w", "b")}


def _frame(atoms: Atoms, vectors: np.ndarray, decimals: int = 10) -> dict:
    cell = atoms.cell.array.tolist() if atoms.pbc.any() else None
    rows = [[round(float(value), decimals) or 0 for value in row] for row in vectors]
    return {"numbers": atoms.numbers.tolist(), "positions": atoms.positions.tolist(), "cell": cell, "vectors": rows}


if __name__ == "__main__":
    made = {"torchani": by_torchani, "dscribe": by_dscribe, "deepmd": by_deepmd}[sys.argv[1]]()
    Path(sys.argv[2]).write_text(json.dumps(made, separators=(",", ":")) + "\n", encoding="utf-8")
