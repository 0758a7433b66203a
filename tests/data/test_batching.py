"""Fast batching against PyG's own."""

import time

import pytest
import torch
from frames_on_file import methanes, waters
from torch_geometric.data import Batch

from eqff.data.atomic_data import fill_missing_labels
from eqff.data.atoms import from_atoms
from eqff.data.batching import collate
from eqff.data.neighbours import add_neighbours
from eqff.errors import DataError


@pytest.fixture
def frames():
    found = [from_atoms(atoms) for atoms in [*waters(3), *methanes(2), *waters(2, seed=5)]]
    return [add_neighbours(frame, {"local": 1.3, "wide": 8.0}) for frame in found]


def assert_same(first, second):
    assert set(first.keys()) == set(second.keys())
    for key in second.keys():
        if isinstance(second[key], torch.Tensor):
            assert first[key].dtype == second[key].dtype, key
            torch.testing.assert_close(first[key], second[key], rtol=0, atol=0, equal_nan=True)
        else:
            assert first[key] == second[key], key


def test_equals_pyg(frames):
    ours, theirs = collate(frames), Batch.from_data_list(frames)
    assert_same(ours, theirs)
    assert type(ours) is type(theirs) and ours.num_graphs == theirs.num_graphs == len(frames)


def test_edges_point_into_their_own_structure(frames):
    batch = collate(frames)
    for name in ("edge_index", "edge_index_wide"):
        assert torch.equal(batch.batch[batch[name][0]], batch.batch[batch[name][1]])
        counts = torch.bincount(batch.batch[batch[name][1]], minlength=len(frames))
        assert counts.tolist() == [frame[name].shape[1] for frame in frames]
        assert torch.all(batch[name][1].diff() >= 0)


def test_structures_come_back(frames):
    for frame, back in zip(frames, collate(frames).to_data_list(), strict=True):
        for key, value in frame.to_dict().items():
            assert torch.equal(back[key], value) if isinstance(value, torch.Tensor) else back[key] == value


def test_what_frames_remember_survives(frames):
    frames[1].group, frames[1].frame = "alcohols", 17
    batch = collate(frames)
    assert batch.group[1] == "alcohols" and int(batch.frame[1]) == 17


def test_missing_labels_become_nan():
    some = [from_atoms(atoms) for atoms in waters(2)]
    some.append(from_atoms(methanes(1)[0], labels=("energy",)))
    with pytest.raises(DataError, match="only one of them has forces"):
        collate(some)
    assert fill_missing_labels(some) == ("energy", "forces")
    batch = collate(some)
    assert batch.forces.shape == (11, 3)
    assert torch.isnan(batch.forces[6:]).all() and torch.isfinite(batch.forces[:6]).all()
    assert not some[2].has("forces") and some[0].has("forces")


def test_five_small_molecules_take_half_of_pygs_time_at_most():
    """The quickest of each; a quarter is usual."""
    frames = [add_neighbours(from_atoms(one), {"local": 5.0}) for one in methanes(5)]

    def seconds(make):
        start = time.process_time()
        make(frames)
        return time.process_time() - start

    ours, theirs = (min(seconds(make) for _ in range(50)) for make in (collate, Batch.from_data_list))
    assert ours < 0.5 * theirs
