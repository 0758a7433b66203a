"""Batches: bounded, shared evenly among ranks, every structure once in an epoch, the same after a restart."""

import numpy as np
import pytest
import torch
from frames_on_file import methanes, waters
from hypothesis import given
from hypothesis import strategies as st

from eqff.data.atomic_data import fill_missing_labels
from eqff.data.atoms import from_atoms
from eqff.data.loaders import make_loader
from eqff.data.neighbours import add_neighbours
from eqff.data.packing import PACKINGS, divide, measure
from eqff.errors import ConfigError


@pytest.fixture(scope="module")
def frames():
    found = [add_neighbours(from_atoms(atoms), {"local": 4.0}) for atoms in [*waters(11), *methanes(8)]]
    for index, frame in enumerate(found):
        frame.frame = index
    fill_missing_labels(found)
    return found


class Sized(list):
    """Structures that know their sizes; the structures themselves are never looked at."""

    def sizes(self, what):
        return self


def seen(loader):
    """Frames of each batch, without those that a rank gets because it has no share."""
    return [batch.frame[~batch.energy.isnan()].tolist() for batch in loader]


SIZES = {"structures": 4, "atoms": 16, "edges": 50}


@pytest.mark.parametrize("by", SIZES)
@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_structure_once_and_ranks_keep_step(frames, by, ranks, shuffle):
    loaders = [
        make_loader(frames, SIZES[by], batch_by=by, shuffle=shuffle, rank=rank, world_size=ranks)
        for rank in range(ranks)
    ]
    alone = make_loader(frames, SIZES[by], batch_by=by, shuffle=shuffle)
    for _ in range(3):
        shares = [seen(loader) for loader in loaders]
        assert {len(share) for share in shares} == {len(alone)} == {len(loader) for loader in loaders}
        whole = [sorted(sum(parts, [])) for parts in zip(*shares, strict=True)]
        assert whole == [sorted(batch) for batch in seen(alone)]
        assert sorted(sum(whole, [])) == list(range(len(frames)))


def test_a_rank_without_a_share_computes_what_counts_for_nothing(frames):
    batches = list(make_loader(frames[:3], 1, rank=1, world_size=2))
    empty = [batch for batch in batches if batch.energy.isnan().all()]
    assert len(empty) == 2 and all(batch.num_graphs == 1 for batch in batches)
    assert all(torch.isnan(batch.forces).all() for batch in empty)
    assert not frames[0].energy.isnan().any()


@pytest.mark.parametrize("by", ["atoms", "edges"])
def test_load_is_bounded_and_even(frames, by):
    loader = make_loader(frames, SIZES[by], batch_by=by, shuffle=True)
    sizes = measure(frames, by)
    for _ in range(5):
        loads = [sizes[batch].sum() for batch in seen(loader)]
        assert max(loads) <= SIZES[by]
        assert len(loads) <= 1.3 * sizes.sum() / SIZES[by] + 1


@given(st.lists(st.integers(1, 300), min_size=1, max_size=120), st.integers(300, 900), st.integers(0, 5))
def test_packings_of_any_sizes(sizes, limit, seed):
    """Whatever the sizes: bounded, complete, always as many batches, and a new composition each time."""
    packing = PACKINGS["atoms"](Sized(sizes), limit, shuffled=True)
    loads, generator = np.array(sizes), np.random.default_rng(seed)
    for _ in range(3):
        batches = packing.batches(generator.permutation(len(sizes)))
        assert len(batches) == len(packing)
        assert sorted(np.concatenate(batches)) == list(range(len(sizes)))
        assert max(loads[batch].sum() for batch in batches) <= limit


def test_batches_are_mixed_anew_every_epoch():
    sizes = np.random.default_rng(0).integers(5, 60, 400).tolist()
    loader = make_loader(Sized(sizes), 512, batch_by="atoms", shuffle=True)
    together = [{frozenset(batch) for batch in loader.batch_sampler} for _ in range(3)]
    assert not together[0] & together[1] and not together[1] & together[2]
    fill = sum(sizes) / (len(loader) * 512)
    assert fill > 0.93


@given(st.lists(st.integers(1, 1000), max_size=40), st.integers(1, 6))
def test_shares_are_even(work, number):
    work = np.array(work, dtype=np.int64)
    shares = divide(work, number)
    assert sorted(np.concatenate(shares).tolist()) == list(range(len(work)))
    loads = [work[share].sum() for share in shares]
    # least-loaded assignment: nobody is more than one item above anybody
    assert max(loads) - min(loads) <= max(work, default=0)


@pytest.mark.parametrize("by", SIZES)
@pytest.mark.parametrize("done", [1, 3])
def test_goes_on_within_an_epoch_with_another_number_of_ranks(frames, by, done):
    """The state counts batches of the whole training, so that ranks may be more or fewer afterwards."""
    whole = [sorted(batch) for batch in seen(make_loader(frames, SIZES[by], batch_by=by, shuffle=True))]
    first = make_loader(frames, SIZES[by], batch_by=by, shuffle=True, rank=0, world_size=2)
    batches = iter(first)
    for _ in range(done):
        next(batches)
    rest = []
    for rank in range(3):
        loader = make_loader(frames, SIZES[by], batch_by=by, shuffle=True, rank=rank, world_size=3)
        loader.load_state_dict(first.state_dict())
        rest.append(seen(loader))
    assert [sorted(sum(parts, [])) for parts in zip(*rest, strict=True)] == whole[done:]


def test_the_fullest_share_goes_around(frames):
    loads = np.zeros(2)
    for rank in range(2):
        for batch in make_loader(frames[-8:], 1, rank=rank, world_size=2):
            loads[rank] += (~batch.energy.isnan()).sum()
    assert loads.tolist() == [4, 4]


def test_messages(frames):
    with pytest.raises(ConfigError, match="alone has 5 .*at least 5"):
        make_loader(frames, 4, batch_by="atoms")
    with pytest.raises(ConfigError, match="drop_last has no meaning"):
        make_loader(frames, 40, batch_by="atoms", drop_last=True)
