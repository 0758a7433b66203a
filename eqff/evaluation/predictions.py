"""A model's predictions for many structures, one dict of numbers per structure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor

from eqff.data import fields as table
from eqff.data.atomic_data import AtomicData
from eqff.data.batching import collate
from eqff.data.graph import STATED, AtomicGraph, graph_from_batch
from eqff.data.neighbours import add_neighbours
from eqff.errors import ModelError
from eqff.potential import Potential

Progress = Callable[[int], None]

MAX_ATOMS = 2000
"""In one batch: enough to keep a processor busy, few enough for the memory of a small machine."""


@dataclass(frozen=True)
class Prediction:
    """What a model says about one structure of N atoms, float64.

    Attributes:
        labels: By field name; (N, ...) per atom, (...) per structure.
        terms: Energy of each term in eV.
        uncertainties: By field name, of potentials that have some (`eqff.uncertainty`): of the structure's energy (eV)
            and of the components of each atom's force (eV/Å, (N,)).
        passes: Of the labels that exchanges write, by field name: the values after every pass, (N, passes, ...).
    """

    labels: dict[str, np.ndarray]
    terms: dict[str, float] = field(default_factory=dict)
    passes: dict[str, np.ndarray] = field(default_factory=dict)
    uncertainties: dict[str, np.ndarray] = field(default_factory=dict)


def predict(
    potential: Potential,
    frames: Sequence[AtomicData],
    *,
    labels: Iterable[str] = ("energy", "forces"),
    batch_size: int = 32,
    progress: Progress | None = None,
) -> list[Prediction]:
    """Predictions in the order of the frames; the frames stay as they are.

    Args:
        potential: In whatever mode it is; it is evaluated in evaluation mode, on the device it is on.
        frames: Neighbour lists are made anew for this model.
        labels: Fields to return; stress and virial are computed only on demand.
        batch_size: Structures at a time; fewer where they are large.
        progress: Is told the number of structures done after each batch.

    Raises:
        ModelError: An element that the model does not cover, or a label that it does not predict.
    """
    wanted = tuple(labels)
    for name in wanted:
        if name not in potential.predicts:
            raise ModelError(f"The model does not predict '{name}'; it predicts {', '.join(potential.predicts)}.")
    require_known_elements(potential, frames)
    training = potential.training
    potential.eval()
    results: list[Prediction] = []
    try:
        for part in parts_of(frames, batch_size):
            results += _predict_part(potential, part, wanted)
            if progress is not None:
                progress(len(part))
    finally:
        potential.train(training)
    return results


def require_known_elements(potential: Potential, frames: Iterable[AtomicData]) -> None:
    """Checks that a model covers every element.

    Raises:
        ModelError: Names the elements, and the frames that have them.
    """
    known = np.asarray(potential.elements)
    places: dict[int, list[str]] = {}
    for frame in frames:
        for number in np.setdiff1d(frame.numbers.numpy(), known):
            places.setdefault(int(number), []).append(frame.place)
    if not places:
        return
    lines = [
        f"{chemical_symbols[number]} (Z={number}) in {len(found)} frames: {_first(found)}"
        for number, found in sorted(places.items())
    ]
    raise ModelError(
        f"The model was made for {', '.join(chemical_symbols[z] for z in potential.elements)} and can't say anything "
        f"about {'; '.join(lines)}. Leave these frames out, or train a model on data that has these elements."
    )


def _first(places: list[str], count: int = 3) -> str:
    return "; ".join(places[:count]) + (f" and {len(places) - count} more" if len(places) > count else "")


def parts_of(frames: Sequence[AtomicData], size: int) -> Iterator[list[AtomicData]]:
    """The frames in order, in parts of at most ``size`` structures and (except a single one) `MAX_ATOMS` atoms."""
    part: list[AtomicData] = []
    atoms = 0
    for frame in frames:
        if part and (len(part) == size or atoms + frame.num_nodes > MAX_ATOMS):
            yield part
            part, atoms = [], 0
        part.append(frame)
        atoms += frame.num_nodes
    if part:
        yield part


def without_labels(frame: AtomicData) -> AtomicData:
    """The structure as a model is given it: inputs alone."""
    kept = {name: frame[name] for name in STATED if name in frame}
    return AtomicData(**kept, num_nodes=frame.num_nodes, source=frame.source, frame=frame.frame)


def graph_for(potential: Potential, frames: Sequence[AtomicData]) -> AtomicGraph:
    """Structures as a model is given them: inputs alone, with its neighbour lists, on its device."""
    lists = potential.neighbour_lists
    batch = collate([add_neighbours(without_labels(frame), lists) for frame in frames])
    return graph_from_batch(batch.to(next(potential.buffers()).device), potential.dtype)


def _predict_part(potential: Potential, frames: list[AtomicData], labels: tuple[str, ...]) -> list[Prediction]:
    """The same as `_predict_batch`, with the place of a structure that can't be treated where it is alone."""
    try:
        return _predict_batch(potential, frames, labels)
    except ModelError as error:
        if len(frames) > 1:
            raise
        raise ModelError(f"{frames[0].place}: {error}") from error


def _predict_batch(potential: Potential, frames: list[AtomicData], labels: tuple[str, ...]) -> list[Prediction]:
    graph = graph_for(potential, frames)
    stress = "stress" in labels or "virial" in labels
    result = potential(graph, forces=stress or "forces" in labels, stress=stress, create_graph=False)
    sizes = [frame.num_nodes for frame in frames]
    columns = {name: _split(name, result[name], sizes) for name in labels}
    passes = {name.removeprefix(table.PER_PASS): result[name] for name in potential.per_pass}
    passes = {name: _split(name, value, sizes) for name, value in passes.items() if name in labels}
    doubts = {name: _split(name, result[name], sizes) for name in potential.uncertainties if name in result}
    terms = {name: result[f"energy_{name}"].double().cpu().tolist() for name in potential.terms}
    return [
        Prediction(
            labels={name: column[index] for name, column in columns.items()},
            terms={name: values[index] for name, values in terms.items()},
            passes={name: column[index] for name, column in passes.items()},
            uncertainties={name: column[index] for name, column in doubts.items()},
        )
        for index in range(len(frames))
    ]


def _split(name: str, values: Tensor, sizes: list[int]) -> list[np.ndarray]:
    values = values.detach().double().cpu()
    if table.field(name).level == "atom":
        return [part.numpy() for part in torch.split(values, sizes)]
    return list(values.numpy())
